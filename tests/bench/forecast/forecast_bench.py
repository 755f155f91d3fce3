#!/usr/bin/env python3
"""Forecasts against real runs, on two hosts that are network namespaces of this machine, joined by a link of a
latency and a bandwidth (shaped_link: this works without netem). Needs root, two cores and Open MPI. Where others
compute on the same cores, `chrt -r 5` before it keeps them out while it lasts.

  sudo tests/bench/forecast/forecast_bench.py BUILD steps [--seconds 8]     step times, in ratios
  sudo tests/bench/forecast/forecast_bench.py BUILD target                  order of settings by time to target

`steps`: for each model and network a run of two processes, one on each host, and `syncbn forecast` from a profile
measured right before. What is given to the forecast is latency and bandwidth as MPI has them on the link
(reduction_bench), both ways at once: Open MPI over TCP gets about half of what TCP does. Ratio: predicted / measured,
of the mean over the quickest quarter of the steps; beside it that of the median.

`target`: one run with probes.noise_scale gives the law; every setting (SGD batch, processes, network) is really
trained to the target. Spearman's rank correlation of predicted and measured times, with its interval (Bonett and
Wright 2000, as src/study/statistics/rank_correlation.h).
"""
import argparse, json, math, os, pathlib, shutil, signal, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
ID = str(os.getpid() % 10000)
HOSTS = [f"sfa{ID}", f"sfb{ID}"]
ADDRESSES = ["10.213.7.1", "10.213.7.2"]
PORT = "7791"

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
    return subprocess.run(words, check=True, text=True, capture_output=True, **more).stdout


class Hosts:
    """Two namespaces and the link between them, for a `with`."""

    def __init__(self, build, folder, delay_us, rate_mbit):
        self.build, self.folder, self.delay_us, self.rate_mbit = build, folder, delay_us, rate_mbit

    def __enter__(self):
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
        self.calibrate()
        return self

    def calibrate(self):
        """Latency and bandwidth as MPI has them: a small and a large sum of two processes, nothing between."""
        bench = subprocess.Popen(self.mpirun(self.build / "reduction_bench", "5"), stdout=subprocess.PIPE, text=True)
        for line in bench.stdout:
            one = json.loads(line) if line.startswith("{") else {"case": ""}
            if one["case"] == "small sum" and one["bytes"] < 1000:
                self.us = one["direct_us"][0]
            if one["case"] == "large sum" and one["bytes"] >= 1 << 22:
                # Two rounds, each announced first; every process sends as many bytes as the sum has.
                self.mbit = 8 * one["bytes"] / (one["tree_us"][0] - 6 * self.us)
                break
        bench.terminate()  # what else it would time is not wanted
        bench.communicate()

    def __exit__(self, *_):
        self.link.terminate()
        self.link.wait()
        for host in HOSTS:
            for process in sh("ip", "netns", "pids", host).split():
                os.kill(int(process), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", host], check=False)

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
    return sorted(line["samples"] / line["images_per_second"] for line in records(out, "train")[3:])


def quickest(seconds):
    return statistics.mean(seconds[:(len(seconds) + 3) // 4])


def forecast(build, run, words):
    lines = sh(str(build / "syncbn"), "forecast", str(run), "--json", *words).splitlines()
    return [json.loads(line) for line in lines]


def head():
    model = next((line.split(": ")[1] for line in open("/proc/cpuinfo") if line.startswith("model name")), "?").strip()
    print(f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M')}")


def steps(build, folder, seconds):
    head()
    ratios = []
    for name, text in MODELS.items():
        run = folder / "run.yaml"
        run.write_text(text)
        for delay_us, rate_mbit in NETWORKS:
            with Hosts(build, folder, delay_us, rate_mbit) as hosts:
                cluster = [line for line in forecast(build, run, ["--processes", "2", *hosts.network()])
                           if line["kind"] == "cluster"][0]
                count = max(12, min(200, int(seconds / cluster["seconds"])))
                hosts.train(run, folder / "out", ["--no-evaluation", "--set", f"train.max_steps={count}"])
            real = step_seconds(folder / "out")
            ratio, of_median = cluster["seconds"] / quickest(real), cluster["seconds"] / statistics.median(real)
            ratios.append(ratio)
            spent = [statistics.mean(line["ms"][part] for line in records(folder / "out", "train")[3:])
                     for part in ("compute", "statistics", "gradients")]
            print(f"{name}; {delay_us / 1000} ms, {rate_mbit / 1000:g} Gbit/s ({hosts.tcp}; MPI {hosts.us:.0f} us, "
                  f"{hosts.mbit / 1000:.2f}): predicted {1e3 * cluster['seconds']:.1f} ms, measured "
                  f"{1e3 * quickest(real):.1f} (median {1e3 * statistics.median(real):.1f}): {ratio:.2f} ({of_median:.2f}); "
                  f"SyncBN {1e3 * cluster['statistics']:.1f} / {spent[1]:.1f}, gradients "
                  f"{1e3 * cluster['gradients']:.1f} / {spent[2]:.1f}", flush=True)
    inside = sum(0.75 <= ratio <= 1.25 for ratio in ratios)
    print(f"{inside} of {len(ratios)} within 25 %; from {min(ratios):.2f} to {max(ratios):.2f}")


def target_run(batch, replicas=2):
    # The rate grows with the root of the batch.
    rate = 0.05 * math.sqrt(batch / 32)
    return f"""data: {{dataset: shapes, shapes: {{train_samples: 4096, test_samples: 512}}}}
model: {{architecture: lenet, norm: {{kind: batch, batch: replica}}}}
cluster: {{replicas: {replicas}, batch_per_replica: {batch // replicas}}}
train:
  max_steps: {min(1200, 40000 // batch)}
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


def target(build, folder, accuracy):
    head()
    probed, out = folder / "probed.yaml", folder / "probed"
    probed.write_text(target_run(64) + "probes: {noise_scale: 20}\n")
    sh(str(build / "syncbn"), "train", str(probed), "--out", str(out), "--overwrite", "--quiet", "--no-checkpoints")
    batches = [32, 64, 128, 256, 512]
    measured, predicted = [], []
    # Steps to the target do not depend on the processes: every batch is trained once to count them. A process has
    # one core, as the forecast has it.
    counted = {}
    for batch in batches:
        run = folder / f"batch{batch}.yaml"
        run.write_text(target_run(batch))
        one = folder / f"out{batch}"
        sh("taskset", "-c", "0", str(build / "syncbn"), "train", str(run), "--out", str(one), "--overwrite", "--quiet", "--no-checkpoints")
        reached = [line["step"] + 1 for line in records(one, "test") if line["accuracy"] >= accuracy]
        counted[batch] = (reached[0] if reached else None, quickest(step_seconds(one)))
    def add(batch, processes, network, cells, real):
        if counted[batch][0] is None:
            print(f"batch {batch}: {accuracy} was not reached; left out")
            return
        cell = [c for c in cells if c["sgd_batch"] == batch][0]
        predicted.append(cell["seconds"]["estimate"])
        measured.append(counted[batch][0] * real)
        print(f"SGD batch {batch} on {processes} ({network}): predicted {cell['steps']:.0f} steps, "
              f"{predicted[-1]:.2f} s; measured {counted[batch][0]} steps, {measured[-1]:.2f} s", flush=True)
    profile = str(folder / "profile.json")
    words = ["--from", str(out), "--accuracy", str(accuracy), "--sgd-batches", "32..512"]
    alone = forecast(build, probed, ["--processes", "1", "--latency", "1us", "--bandwidth", "1Gbit",
                                     "--save-profile", profile, *words])
    print("noise scale", [c for c in alone if c["kind"] == "law"][0])
    for batch in batches:
        add(batch, 1, "alone", [c for c in alone if c["kind"] == "target"], counted[batch][1])
    for delay_us, rate_mbit in [(100, 10000), (1000, 1000)]:
        with Hosts(build, folder, delay_us, rate_mbit) as hosts:
            both = [c for c in forecast(build, probed, ["--processes", "2", "--profile", profile, *hosts.network(), *words])
                    if c["kind"] == "target"]
            for batch in batches:
                hosts.train(folder / f"batch{batch}.yaml", folder / "both",
                            ["--no-evaluation", "--set", f"train.max_steps={max(16, 1500 // batch)}"])
                add(batch, 2, f"{delay_us / 1000} ms, {rate_mbit / 1000:g} Gbit/s", both,
                    quickest(step_seconds(folder / "both")))
    rho, low, high = spearman(predicted, measured)
    print(f"rank correlation of {len(measured)} settings: {rho:.2f} (95 %: {low:.2f} to {high:.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="folder of the programs: build/bin")
    parser.add_argument("what", choices=["steps", "target"])
    parser.add_argument("--seconds", type=float, default=8, help="of each real run")
    parser.add_argument("--accuracy", type=float, default=0.35, help="the target")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="syncbn-forecast-"))
    # So that the hosts are taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    try:
        if arguments.what == "steps":
            steps(arguments.build.resolve(), folder, arguments.seconds)
        else:
            target(arguments.build.resolve(), folder, arguments.accuracy)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stdout}\n{error.stderr}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
