#!/usr/bin/env python3
"""Forecasts against real runs, on two hosts that are network namespaces of this machine, joined by a link of a
latency and a bandwidth (shaped_link: this works without netem). Needs root, two cores and Open MPI. Where others
compute on the same cores, `chrt -r 5` before it keeps them out while it lasts.

  sudo tests/bench/forecast/forecast_bench.py BUILD steps [--seconds 8]     step times, in ratios
  sudo tests/bench/forecast/forecast_bench.py BUILD target                  order of settings by time to target
  ... --short                                                               a few seconds of it: does it work?

Each process has one core of its own, as the forecast has it. Everything is measured `--rounds` times, each time by
processes that are started anew, and the median counts: a round that was disturbed moves nothing.

`steps`: for each network and model a run of two processes, one on each host, and `syncbn forecast` from a profile
measured right before. What is given to the forecast is latency and bandwidth as MPI has them on the link
(reduction_bench), both ways at once: Open MPI over TCP gets about half of what TCP does. Ratio: predicted / measured,
of the mean over the quickest quarter of the steps, without the first three; beside it that of the median.

`target`: runs with probes.noise_scale give the law, one a round; every setting (SGD batch, processes, network) is
really trained to the target, with one seed a round. Spearman's rank correlation of predicted and measured times, with
its interval (Bonett and Wright 2000, as src/study/statistics/rank_correlation.h).
"""
import argparse, json, math, os, pathlib, shutil, signal, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
# With the process that made them in their names.
PREFIX = "syncbn-forecast-"
HOSTS = [f"{PREFIX}{which}-{os.getpid()}" for which in "ab"]
ADDRESSES = ["10.213.7.1", "10.213.7.2"]
PORT = "7791"
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
CORES = sorted(os.sched_getaffinity(0))[:2]
WARM_UP = 3  # steps

SHAPES = "data: {dataset: shapes, shapes: {train_samples: 4096, test_samples: 512}}\n"
MODELS = {
    "resnet20 (width 0.5), 16 + 16": SHAPES + """model: {architecture: resnet20, width: 0.5, norm: {kind: batch, batch: global}}
cluster: {replicas: 2, batch_per_replica: 16}
train: {epochs: 100, learning_rate: 0.01}
""",
    "resnet20 (width 0.5), 16 + 16, statistics of each": SHAPES + """model: {architecture: resnet20, width: 0.5, norm: {kind: batch, batch: replica}}
cluster: {replicas: 2, batch_per_replica: 16}
train: {epochs: 100, learning_rate: 0.01}
""",
    "vgg11 (width 0.5), 8 + 8": SHAPES + """model: {architecture: vgg11, width: 0.5, norm: {kind: batch, batch: global}}
cluster: {replicas: 2, batch_per_replica: 8}
train: {epochs: 100, learning_rate: 0.001}
""",
}
NETWORKS = [(100, 10000), (100, 1000), (1000, 10000), (1000, 1000)]  # microseconds, Mbit/s


def sh(*words, **more):
    return subprocess.run(words, check=True, text=True, capture_output=True, timeout=900, **more).stdout


def alone(*words):
    return sh("taskset", "-c", str(CORES[0]), *map(str, words))


def remove(host):
    pids = subprocess.run(["ip", "netns", "pids", host], text=True, capture_output=True).stdout
    for process in pids.split():
        try:
            os.kill(int(process), signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "del", host], capture_output=True)


def remove_abandoned():
    """The hosts of those that were killed before they could do it."""
    for line in sh("ip", "netns", "list").splitlines():
        host = line.split()[0]
        if host.startswith(PREFIX) and not os.path.exists(f"/proc/{host.rsplit('-', 1)[1]}"):
            remove(host)


class Hosts:
    """Two namespaces and the link between them, for a `with`."""

    def __init__(self, build, folder, delay_us, rate_mbit, rounds):
        self.build, self.folder, self.delay_us, self.rate_mbit = build, folder, delay_us, rate_mbit
        self.rounds, self.link = rounds, None

    def __enter__(self):
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set_up(self):
        for host in HOSTS:
            sh("ip", "netns", "add", host)
            sh("ip", "-n", host, "link", "set", "lo", "up")
        self.link = subprocess.Popen(
            [self.build / "shaped_link", "link", HOSTS[0], ADDRESSES[0], HOSTS[1], ADDRESSES[1],
             "--delay-us", str(self.delay_us), "--rate-mbit", str(self.rate_mbit)], stdout=subprocess.PIPE, text=True)
        assert self.link.stdout.readline() == "up\n", "the link did not come up"
        answer = subprocess.Popen(["ip", "netns", "exec", HOSTS[1], self.build / "shaped_link", "answer", PORT],
                                  stdout=subprocess.PIPE, text=True)
        assert answer.stdout.readline() == "up\n"
        us, mbit = sh("ip", "netns", "exec", HOSTS[0], self.build / "shaped_link", "measure", ADDRESSES[1], PORT).split()
        answer.wait()
        self.tcp = f"TCP {float(us):.0f} us, {float(mbit) / 1000:.2f} Gbit/s"
        lists = sh(*self.mpirun("grep", "Cpus_allowed_list", "/proc/self/status")).split()
        assert sorted(lists[1::2]) == sorted(map(str, CORES)), f"processes are not on a core each: {lists}"
        self.calibrate()

    def calibrate(self):
        """Latency and bandwidth as MPI has them: a small and a large sum of two processes, nothing between."""
        seen = [self.calibrate_once() for _ in range(self.rounds)]
        self.us = statistics.median(us for us, _ in seen)
        # Two rounds, each announced first; every process sends as many bytes as the sum has.
        self.mbit = statistics.median(8 * size / (took - 6 * us) for us, (size, took) in seen)

    def calibrate_once(self):
        said = self.folder / "reduction_bench.err"  # Open MPI complains of its end
        with said.open("w") as errors:
            bench = subprocess.Popen(self.mpirun(self.build / "reduction_bench", "3"), stdout=subprocess.PIPE,
                                     stderr=errors, text=True)
        us, large = [], None
        for line in bench.stdout:
            one = json.loads(line) if line.startswith("{") else {"case": ""}
            if one["case"] == "small sum" and one["bytes"] < 1000:
                us.append(one["direct_us"][0])
            if one["case"] == "large sum" and one["bytes"] >= 1 << 22:
                large = (one["bytes"], one["tree_us"][0])
                break
        bench.terminate()  # what else it would time is not wanted
        bench.communicate()
        assert us and large, f"reduction_bench has not come to the sums that are needed: {said.read_text()}"
        return statistics.median(us), large

    def __exit__(self, *_):
        # Whoever ends this now waits for the hosts to go.
        before = {one: signal.signal(one, signal.SIG_IGN) for one in ENDING}
        if self.link is not None:
            self.link.terminate()
            self.link.wait()
        for host in HOSTS:
            remove(host)
        for one, handler in before.items():
            signal.signal(one, handler)

    def network(self):
        return ["--latency", f"{self.us:.2f}us", "--bandwidth", f"{self.mbit:.1f}Mbit"]

    def mpirun(self, *program):
        agent = self.folder / "agent"
        agent.write_text("#!/bin/sh\nhost=$1; shift\n"
                         "exec ip netns exec $host unshare --uts sh -c \"hostname $host; $*\"\n")
        agent.chmod(0o755)
        words = ["mpirun", "-np", "2", "--host", ",".join(f"{host}:1" for host in HOSTS),
                 "--mca", "plm_rsh_agent", str(agent), "--mca", "btl", "tcp,self",
                 "--mca", "btl_tcp_if_include", "10.213.7.0/24", "--mca", "oob_tcp_if_include", "10.213.7.0/24",
                 "sh", "-c", f'exec taskset -c $((OMPI_COMM_WORLD_RANK ? {CORES[1]} : {CORES[0]})) "$@"', "sh",
                 *map(str, program)]
        line = f". {ROOT}/launch/mpi-environment; hostname {HOSTS[0]}; exec \"$@\""
        return ["ip", "netns", "exec", HOSTS[0], "unshare", "--uts", "sh", "-c", line, "sh", *words]

    def train(self, run, out, more=()):
        sh(*self.mpirun(self.build / "syncbn", "train", run, "--out", out, "--overwrite", "--quiet",
                        "--no-checkpoints", *more))


def records(out, split):
    lines = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["split"] == split]


def step_seconds(out):
    return sorted(line["samples"] / line["images_per_second"] for line in records(out, "train")[WARM_UP:])


def quickest(seconds):
    return statistics.mean(seconds[:(len(seconds) + 3) // 4])


def forecast(build, run, words):
    lines = alone(build / "syncbn", "forecast", run, "--json", *words).splitlines()
    return [json.loads(line) for line in lines]


def head():
    model = next((line.split(": ")[1] for line in open("/proc/cpuinfo") if line.startswith("model name")), "?").strip()
    print(f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M')}")


def one_step(hosts, run, seconds):
    """Once: what is forecast of the run, and what it takes."""
    cluster = [line for line in forecast(hosts.build, run, ["--processes", "2", *hosts.network()])
               if line["kind"] == "cluster"][0]
    out = hosts.folder / "out"
    count = max(12, min(200, int(seconds / cluster["seconds"])))
    hosts.train(run, out, ["--no-evaluation", "--set", f"train.max_steps={count}"])
    real = step_seconds(out)
    spent = {part: statistics.mean(line["ms"][part] for line in records(out, "train")[WARM_UP:])
             for part in ("statistics", "gradients")}
    return {"predicted": 1e3 * cluster["seconds"], "measured": 1e3 * quickest(real),
            "median": 1e3 * statistics.median(real), "ratio": cluster["seconds"] / quickest(real),
            "ratio of medians": cluster["seconds"] / statistics.median(real),
            **{f"predicted {part}": 1e3 * cluster[part] for part in spent}, **spent}


def steps(build, folder, rounds, seconds, short):
    head()
    ratios = []
    for delay_us, rate_mbit in NETWORKS[:1] if short else NETWORKS:
        with Hosts(build, folder, delay_us, rate_mbit, rounds) as hosts:
            print(f"{delay_us / 1000} ms, {rate_mbit / 1000:g} Gbit/s: {hosts.tcp}; MPI {hosts.us:.0f} us, "
                  f"{hosts.mbit / 1000:.2f} Gbit/s", flush=True)
            for name, text in list(MODELS.items())[:1 if short else None]:
                run = folder / "run.yaml"
                run.write_text(text)
                seen = [one_step(hosts, run, seconds) for _ in range(rounds)]
                at = {key: statistics.median(one[key] for one in seen) for key in seen[0]}
                ratios.append(at["ratio"])
                print(f"  {name}: predicted {at['predicted']:.1f} ms, measured {at['measured']:.1f} (median "
                      f"{at['median']:.1f}): {at['ratio']:.2f} ({at['ratio of medians']:.2f}), rounds "
                      f"{' '.join(f'{ratio:.2f}' for ratio in sorted(one['ratio'] for one in seen))}; SyncBN "
                      f"{at['predicted statistics']:.1f} / {at['statistics']:.1f}, gradients "
                      f"{at['predicted gradients']:.1f} / {at['gradients']:.1f}", flush=True)
    inside = sum(0.75 <= ratio <= 1.25 for ratio in ratios)
    print(f"{inside} of {len(ratios)} within 25 %; from {min(ratios):.2f} to {max(ratios):.2f}")


def target_run(batch, seed, samples, replicas=2):
    # The rate grows with the root of the batch.
    rate = 0.05 * math.sqrt(batch / 32)
    return f"""seed: {seed}
data: {{dataset: shapes, shapes: {{train_samples: 4096, test_samples: 512}}}}
model: {{architecture: lenet, norm: {{kind: batch, batch: replica}}}}
cluster: {{replicas: {replicas}, batch_per_replica: {batch // replicas}}}
train:
  max_steps: {min(1200, samples // batch)}
  epochs: 40
  learning_rate: {rate:.4f}
  evaluate: {{every_epochs: 0.125}}
"""


def spearman(x, y):
    def ranks(values):
        order = sorted(range(len(values)), key=values.__getitem__)
        result = [0.0] * len(values)
        for rank, index in enumerate(order):
            result[index] = float(rank)
        return result
    n, rx, ry = len(x), ranks(x), ranks(y)
    rho = 1 - 6 * sum((a - b) ** 2 for a, b in zip(rx, ry)) / (n ** 3 - n)
    inner = min(rho, 1 - 6 / (n ** 3 - n))
    width = 1.96 * math.sqrt((1 + inner ** 2 / 2) / (n - 3))
    return rho, math.tanh(math.atanh(inner) - width), 1.0 if rho == 1 else math.tanh(math.atanh(inner) + width)


def count_steps(build, folder, batches, seeds, samples, accuracy):
    """By batch: the run file, steps to the target (median of the seeds; inf: not reached) and seconds of a step.

    Steps do not depend on the processes: every batch is trained on one to count them.
    """
    counted = {}
    for batch in batches:
        reached, seconds = [], []
        run, out = folder / f"batch{batch}.yaml", folder / "counted"
        for seed in seeds:
            run.write_text(target_run(batch, seed, samples))
            alone(build / "syncbn", "train", run, "--out", out, "--overwrite", "--quiet", "--no-checkpoints")
            there = [line["step"] + 1 for line in records(out, "test") if line["accuracy"] >= accuracy]
            reached.append(there[0] if there else math.inf)
            seconds.append(quickest(step_seconds(out)))
        counted[batch] = (run, statistics.median(reached), statistics.median(seconds))
        print(f"SGD batch {batch}: {accuracy} after {' '.join(map(str, reached))} steps", flush=True)
    return counted


def target(build, folder, rounds, accuracy, short):
    head()
    batches = [32, 128, 512] if short else [32, 64, 128, 256, 512]
    samples, seeds = 8000 if short else 40000, range(1, rounds + 1)
    counted = count_steps(build, folder, batches, seeds, samples, accuracy)
    probed, laws, profiles = folder / "probed.yaml", [], []
    for seed in seeds:
        laws.append(folder / f"probed{seed}")
        profiles.append(folder / f"profile{seed}.json")
        probed.write_text(target_run(64, seed, samples) + "probes: {noise_scale: 20}\n")
        alone(build / "syncbn", "train", probed, "--out", laws[-1], "--overwrite", "--quiet", "--no-checkpoints")

    def forecasts(words, of_law):
        """By batch: medians of predicted steps and seconds over the laws, each with a profile of its own."""
        cells = []
        for law, profile in zip(laws, profiles):
            use = "--profile" if profile.exists() else "--save-profile"
            lines = forecast(build, probed, [*words, use, str(profile), "--from", str(law), "--accuracy", str(accuracy),
                                             "--sgd-batches", "32..512"])
            of_law([line for line in lines if line["kind"] == "law"][0])
            cells.append({line["sgd_batch"]: line for line in lines if line["kind"] == "target"})
        return {batch: (statistics.median(each[batch]["steps"] for each in cells),
                        statistics.median(each[batch]["seconds"]["estimate"] for each in cells)) for batch in batches}

    measured, predicted = [], []

    def add(batch, setting, forecast_of_batch, step):
        steps_there = counted[batch][1]
        if math.isinf(steps_there):
            print(f"SGD batch {batch}: {accuracy} was not reached; left out")
            return
        predicted.append(forecast_of_batch[1])
        measured.append(steps_there * step)
        print(f"SGD batch {batch} on {setting}: predicted {forecast_of_batch[0]:.0f} steps, {predicted[-1]:.2f} s; "
              f"measured {steps_there} steps, {measured[-1]:.2f} s", flush=True)

    on_one = forecasts(["--processes", "1", "--latency", "1us", "--bandwidth", "1Gbit"],
                       lambda law: print("noise scale", law, flush=True))
    for batch in batches:
        add(batch, "1 process", on_one[batch], counted[batch][2])
    for delay_us, rate_mbit in [(100, 10000), (1000, 1000)][:1 if short else None]:
        with Hosts(build, folder, delay_us, rate_mbit, rounds) as hosts:
            both = forecasts(["--processes", "2", *hosts.network()], lambda law: None)
            for batch in batches:
                seconds = []
                for _ in range(rounds):
                    hosts.train(counted[batch][0], folder / "both",
                                ["--no-evaluation", "--set", f"train.max_steps={max(16, 1500 // batch)}"])
                    seconds.append(quickest(step_seconds(folder / "both")))
                add(batch, f"2 processes, {delay_us / 1000} ms, {rate_mbit / 1000:g} Gbit/s", both[batch],
                    statistics.median(seconds))
    if len(measured) < 4:
        sys.exit(f"{len(measured)} settings reached {accuracy}: too few for a rank correlation")
    rho, low, high = spearman(predicted, measured)
    print(f"rank correlation of {len(measured)} settings: {rho:.2f} (95 %: {low:.2f} to {high:.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="folder of the programs: build/bin")
    parser.add_argument("what", choices=["steps", "target"])
    parser.add_argument("--seconds", type=float, default=8, help="of each real run")
    parser.add_argument("--accuracy", type=float, default=0.35, help="the target")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement; their median counts")
    parser.add_argument("--short", action="store_true", help="one round of one model or three batches on one network")
    arguments = parser.parse_args()
    if len(CORES) < 2:
        sys.exit("two cores are needed, one for each process")
    build, rounds = arguments.build.resolve(), 1 if arguments.short else arguments.rounds
    # So that the hosts are taken down.
    for one in ENDING:
        signal.signal(one, lambda *_: sys.exit("ended"))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="syncbn-forecast-"))
    try:
        remove_abandoned()
        if arguments.what == "steps":
            steps(build, folder, rounds, 1 if arguments.short else arguments.seconds, arguments.short)
        else:
            target(build, folder, rounds, arguments.accuracy, arguments.short)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.exit(f"{error}\n{error.stdout}\n{error.stderr}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
