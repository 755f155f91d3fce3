"""The programs that tests/bench/compare times: syncbn, and its peers, which stay alive between their turns."""
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))

# Nets that syncbn builds by name, and those that a run file writes down.
ARCHITECTURES = ("resnet20", "vgg11")
WRITTEN_DOWN = {"resnet9": "configs/resnet9-cifar10.yaml"}
MODELS = (*ARCHITECTURES, *WRITTEN_DOWN)


# At ten times this rate what two float32 programs round differently is a thousand times as large after two steps, and
# PyTorch in single precision is as far from PyTorch in double.
RATE = 0.001
# Compiling takes a minute; nothing that was asked for takes this long.
PATIENCE_SECONDS = 900


class Failed(Exception):
    pass


class Setting:
    """What is compared: a model, the batch of a replica, and so many replicas, a process and a core each."""

    def __init__(self, model, batch, replicas, synchronized):
        self.model, self.batch, self.replicas, self.synchronized = model, batch, replicas, synchronized

    @property
    def name(self):
        if self.replicas == 1:
            return f"{self.model}, one process, batch {self.batch}"
        return (f"{self.model}, {self.replicas} processes, {'synchronized' if self.synchronized else 'local'}, "
                f"batch {self.replicas} x {self.batch}")

    def model_text(self):
        """What a run file says of the model."""
        batch = "global" if self.synchronized else "replica"
        if self.model in ARCHITECTURES:
            return f"model: {{architecture: {self.model}, norm: {{batch: {batch}}}}}\n"
        with open(os.path.join(ROOT, WRITTEN_DOWN[self.model])) as file:
            text = re.search(r"^model:\n(?:^ .*\n)+", file.read(), re.MULTILINE).group()
        text, found = re.subn(r"(norm: \{.*\bbatch: )\w+", rf"\g<1>{batch}", text)
        if found != 1:
            raise Failed(f"{WRITTEN_DOWN[self.model]} does not say once which samples share statistics")
        return text

    def run_file(self, steps):
        return f"""data: {{dataset: shapes, shapes: {{train_samples: {self.batch * self.replicas * steps}, test_samples: 1}}}}
{self.model_text()}cluster: {{replicas: {self.replicas}, batch_per_replica: {self.batch}}}
train:
  epochs: 1
  optimizer: {{momentum: 0.9, nesterov: true, weight_decay: 5.0e-4}}
  learning_rate: {RATE}
"""


def _on(cores, argv):
    return ["taskset", "-c", ",".join(map(str, cores)), *argv]


class Syncbn:
    """A whole run a turn, with its loader and its metrics."""
    name, keeps_losses_to = "syncbn", 0.0

    def __init__(self, program, folder, setting, cores):
        self.program, self.folder, self.setting, self.cores = program, folder, setting, cores
        self.peak_mib = 0.0

    def _train(self, steps, *words):
        run = os.path.join(self.folder, "run.yaml")
        with open(run, "w") as file:
            file.write(self.setting.run_file(steps))
        out = os.path.join(self.folder, "run")
        argv = [self.program, "train", run, "--out", out, "--overwrite", "--quiet", "--no-checkpoints", "--no-evaluation",
                "--backend", "cpu", "--threads", "1", *words]
        if self.setting.replicas > 1:
            argv = ["mpirun", "--bind-to", "none", "-np", str(self.setting.replicas), *argv]
        said = os.path.join(self.folder, "syncbn.log")
        with open(said, "w") as log:
            process = subprocess.Popen(_on(self.cores, argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env={**os.environ, "OMP_NUM_THREADS": "1"})
            # The largest process of this turn: with mpirun, of the ranks that it has waited for.
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            with open(said) as log:
                raise Failed(f"syncbn ended with {process.returncode}:\n{log.read()}")
        self.peak_mib = max(self.peak_mib, usage.ru_maxrss / 1024)
        with open(os.path.join(out, "metrics.jsonl")) as file:
            records = [json.loads(line) for line in file]
        return out, [record for record in records if record.get("split") == "train" and "step" in record and "ms" in record]

    def dump(self, steps):
        """Its first steps whole: files, and the loss of each."""
        out, records = self._train(steps, "--dump-steps", str(steps))
        files = [os.path.join(out, "steps", f"{step:06d}.safetensors") for step in range(steps)]
        kept = os.path.join(self.folder, "steps")
        os.makedirs(kept, exist_ok=True)
        for file in files:
            os.replace(file, os.path.join(kept, os.path.basename(file)))
        return [os.path.join(kept, os.path.basename(file)) for file in files], [record["loss"] for record in records]

    def turn(self, warm_up, steps):
        _, records = self._train(warm_up + steps)
        if len(records) != warm_up + steps:
            raise Failed(f"syncbn took {len(records)} steps instead of {warm_up + steps}")
        return [1000 * record["samples"] / record["images_per_second"] for record in records[warm_up:]]

    def close(self):
        pass


class Peer:
    """A process a replica, or one for all; each is sent the same orders, and the first one's answers count."""

    def __init__(self, name, argv, setting, cores, folder, one_process, keeps_losses_to):
        self.name, self.keeps_losses_to = name, keeps_losses_to
        self.processes, self.peak_mib = [], 0.0
        self.log = os.path.join(folder, name.replace(" ", "-").replace(",", "") + ".log")
        count = 1 if one_process else setting.replicas
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(self.log, "w") as log:
            for rank in range(count):
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "REPLICAS": str(setting.replicas)}
                if count > 1:
                    environment.update(RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
                words = [*argv, "--model", setting.model] + (["--synchronized"] if setting.synchronized else [])
                own = cores if count == 1 else [cores[rank % len(cores)]]
                self.processes.append(subprocess.Popen(_on(own, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                       stderr=log, text=True, env=environment, start_new_session=True))

    def ask(self, order):
        try:
            for process in self.processes:
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            answers = []
            for process in self.processes:
                # One line is the whole answer, so that none is left in a buffer that select does not see.
                if not select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]:
                    raise Failed(f"{self.name} has not answered for {PATIENCE_SECONDS} s")
                answers.append(process.stdout.readline())
        except BrokenPipeError:
            answers = [""]
        if not all(answers):
            with open(self.log) as file:
                lines = file.read().strip().splitlines()
            raise Failed(f"{self.name} has ended: {lines[-1] if lines else 'without a word'}")
        return json.loads(answers[0])

    def check(self, files):
        return self.ask({"check": files})["losses"]

    def turn(self, warm_up, steps):
        times = self.ask({"steps": warm_up + steps})["ms"][warm_up:]
        for process in self.processes:
            with open(f"/proc/{process.pid}/status") as file:
                peak = next(line for line in file if line.startswith("VmHWM"))
            self.peak_mib = max(self.peak_mib, int(peak.split()[1]) / 1024)
        return times

    def close(self):
        for process in self.processes:
            with contextlib.suppress(BrokenPipeError):  # of one that has ended
                process.stdin.close()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


# Name: file, words, whether one process has all replicas, and how far its losses may be from ours, as a share.
PEERS = {
    "pytorch": ("torch_peer.py", [], False, 1e-3),
    "pytorch compiled": ("torch_peer.py", ["--compile"], False, 1e-3),
    "pytorch threads": ("torch_peer.py", ["--threads"], True, 1e-3),
    "pytorch threads compiled": ("torch_peer.py", ["--threads", "--compile"], True, 1e-3),
    "pytorch bf16": ("torch_peer.py", ["--bf16"], False, 5e-2),
    "pytorch bf16 compiled": ("torch_peer.py", ["--bf16", "--compile"], False, 5e-2),
    "jax": ("jax_peer.py", [], True, 1e-3),
}


def can_do(name, setting):
    """A process whose threads share one batch is nothing of its own for one replica, and has no statistics of each."""
    return "threads" not in name or (setting.replicas > 1 and setting.synchronized)


def start_peer(name, python, setting, cores, folder):
    file, words, one_process, keeps = PEERS[name]
    return Peer(name, [python, os.path.join(HERE, file), *words], setting, cores, folder, one_process, keeps)


def check_losses(peer, losses, ours):
    """That both compute the same, before anything is timed."""
    if len(losses) != len(ours):
        raise Failed(f"{peer.name} gave {len(losses)} losses for {len(ours)} steps")
    for step, (theirs, mine) in enumerate(zip(losses, ours)):
        if not abs(theirs - mine) <= peer.keeps_losses_to * abs(mine):  # NaN is wrong
            raise Failed(f"{peer.name} computes something else: a loss of {theirs:.6g} in step {step} where syncbn has {mine:.6g}")


def describe(python):
    """Versions of the peers that this interpreter has, by name."""
    text = ("import importlib.metadata as m\n"
            "for p in ('torch', 'jax', 'flax'):\n"
            "  try: print(p, m.version(p))\n"
            "  except m.PackageNotFoundError: pass\n")
    ended = subprocess.run([python, "-c", text], capture_output=True, text=True)
    if ended.returncode != 0:
        raise Failed(f"{python} does not run: {ended.stderr.strip()}")
    return dict(line.split() for line in ended.stdout.splitlines())
