"""What a run leaves for TensorBoard, read by a real one: by its event accumulator, and by its web server, with the loader
in Python and the one in Rust. It has the figures of metrics.jsonl, each once, also of a run that was killed or stopped
and has gone on.

Usage: tensorboard_test.py SYNCBN
"""
import contextlib
import glob
import json
import math
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import test_report  # noqa: E402

# Not packaged by the distribution: where `pip install --target` has put it.
PACKAGES = os.environ.get("SYNCBN_TEST_PYTHON_PACKAGES", "")
sys.path.append(PACKAGES)
try:
    from tensorboard.backend.event_processing import event_accumulator
except ImportError as error:
    test_report.skip(f"{error}; pip install --no-deps --target FOLDER what .ci/run does, and name the folder in "
                     "SYNCBN_TEST_PYTHON_PACKAGES")

PATIENCE = 120
PROGRAM = os.path.abspath(sys.argv[1])
RUN = {
    "data": {"dataset": "shapes", "shapes": {"train_samples": 64, "test_samples": 16}},
    "model": {"layers": [{"conv": {"out": 4, "kernel": 3, "stride": 4}}, "norm", "relu", "global_average_pool",
                         {"linear": 10}]},
    "cluster": {"replicas": 2, "batch_per_replica": 8},
    "train": {"epochs": 6, "evaluate": {"with": ["running", "batch"]}},
}


def tags_of(record):
    """What a line of metrics.jsonl comes to, by its tag."""
    at = record["split"] + "/"
    if record.get("evaluation", "running") != "running":
        at += record["evaluation"] + "/"
    figures = {at + name: record[key] for name, key in
               (("loss", "loss"), ("accuracy", "accuracy"), ("learning_rate", "lr"), ("gradient_norm", "gradient_norm"),
                ("images_per_second", "images_per_second")) if key in record}
    if record.get("skipped"):
        figures[at + "skipped"] = 1
    for name, value in record.get("figures", {}).items():
        figures[name.replace(".", "/", 1)] = value
    for name, value in record.get("ms", {}).items():
        figures[f"time/{name}_ms"] = value
    if "ms" in record:
        figures["time/step_ms"] = sum(record["ms"].values())
    return figures


def as_float32(value):
    """None for what is not finite, as metrics.jsonl has it."""
    return None if value is None or not math.isfinite(value) else struct.unpack("f", struct.pack("f", value))[0]


def wanted_scalars(folder):
    wanted = {}
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        for record in map(json.loads, file):
            for tag, value in tags_of(record).items():
                wanted.setdefault(tag, []).append((record["step"], as_float32(value)))
    return wanted


class TensorBoardTest(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="syncbn-tensorboard-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.run_file = os.path.join(self.folder, "run.yaml")
        with open(self.run_file, "w") as file:
            json.dump(RUN, file)
        self.out = os.path.join(self.folder, "runs", "first")

    def command(self, *options, sets=()):
        command = [PROGRAM, "train", self.run_file, "--out", self.out, "--quiet", *options]
        for setting in sets:
            command += ["--set", setting]
        return command

    def train(self, *options, sets=(), status=0):
        done = subprocess.run(self.command(*options, sets=sets), capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def event_files(self):
        return sorted(glob.glob(os.path.join(self.out, "events.out.tfevents.*")))

    def accumulated(self):
        accumulator = event_accumulator.EventAccumulator(
            self.out, size_guidance={event_accumulator.SCALARS: 0, event_accumulator.HISTOGRAMS: 0})
        accumulator.Reload()
        return accumulator

    def assert_same_as_metrics(self):
        accumulator, wanted = self.accumulated(), wanted_scalars(self.out)
        self.assertEqual(set(accumulator.Tags()["scalars"]), set(wanted))
        for tag, points in wanted.items():
            self.assertEqual([(point.step, as_float32(point.value)) for point in accumulator.Scalars(tag)], points, tag)
        return accumulator

    def test_has_every_figure_of_a_run(self):
        begin = time.time()
        self.train(sets=["probes.noise_scale=2"])
        accumulator = self.assert_same_as_metrics()
        self.assertIn("noise_scale/variance", accumulator.Tags()["scalars"])
        self.assertEqual(len(accumulator.Scalars("train/loss")), 24)
        self.assertEqual(len(accumulator.Scalars("test/batch/accuracy")), 6)
        self.assertEqual(accumulator.Tags()["histograms"], [])
        for point in accumulator.Scalars("train/loss"):
            self.assertTrue(begin <= point.wall_time <= time.time())
        self.assertEqual(len(self.event_files()), 1)

    def test_has_histograms_where_activations_are_probed(self):
        self.train("--dump-from", "7", "--dump-steps", "1", sets=["probes.activations=8"])
        accumulator = self.assert_same_as_metrics()
        self.assertTrue(any(tag.startswith("activations/") for tag in accumulator.Tags()["scalars"]))
        dumped = dump_of(os.path.join(self.out, "steps", "000007.safetensors"))
        names = sorted(name[len("parameters/"):] for name in accumulator.Tags()["histograms"]
                       if name.startswith("parameters/"))
        # Of the convolution (its bias is the norm's), the norm and the linear layer.
        self.assertEqual(len(names), 5)
        for name in names:
            for tag in ("parameters/" + name, "gradients/" + name):
                events = accumulator.Histograms(tag)
                self.assertEqual([event.step for event in events], [7, 15, 23])
                values, seen = dumped[tag], events[0].histogram_value
                self.assertEqual((seen.num, seen.min, seen.max), (len(values), min(values), max(values)), tag)
                self.assertAlmostEqual(seen.sum, math.fsum(values), 9)
                self.assertEqual(sum(seen.bucket), len(values))

    def test_a_run_with_probes_ends_in_the_same_bits_without(self):
        digests = []
        for setting in ("probes.activations=8", "probes.activations=0"):
            self.train("--overwrite", sets=[setting])
            with open(os.path.join(self.out, "summary.json")) as file:
                digests.append(json.load(file)["digest"])
        self.assertEqual(digests[0], digests[1])

    def test_a_run_that_was_killed_and_goes_on_has_each_step_once(self):
        checkpoints = ["train.checkpoint.every_steps=5"]
        for kill in (8, 13, 14):
            resume = ["--resume"] if self.event_files() else []
            self.train(*resume, "--fault", f"kill@step={kill},replica=0", sets=checkpoints, status=-signal.SIGKILL)
        self.train("--resume", sets=checkpoints)
        self.assertEqual(len(self.event_files()), 4)
        self.assert_same_as_metrics()

    def test_an_evaluation_that_was_put_off_by_a_stop_is_there_once(self):
        # Every step ends an epoch.
        endless = ["train.epochs=1000000", "data.shapes.train_samples=16"]
        process = subprocess.Popen(self.command(sets=endless), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        metrics, deadline = os.path.join(self.out, "metrics.jsonl"), time.monotonic() + PATIENCE
        while not os.path.exists(metrics) or os.path.getsize(metrics) < 2000:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        steps = max(step for step, _ in wanted_scalars(self.out)["train/loss"]) + 1
        before = wanted_scalars(self.out)["test/accuracy"][-1][0]
        self.assertEqual(before, steps - 2, "the last evaluation was put off")
        self.train("--resume", sets=[*endless, f"train.max_steps={steps + 3}"])
        self.assert_same_as_metrics()

    def test_a_run_that_is_replaced_leaves_only_files_of_others(self):
        self.train()
        first = self.event_files()
        other = os.path.join(self.out, "events.out.tfevents.1.host.17.0")
        shutil.copy(first[0], other)
        self.train("--overwrite", sets=["train.max_steps=3"])
        self.assertEqual(len(self.event_files()), 2)
        self.assertIn(other, self.event_files())

    def test_a_disk_without_room_for_them_ends_no_run(self):
        def little_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        command = self.command(sets=["probes.activations=1"])
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, preexec_fn=little_room,
                              restore_signals=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("its events wait in memory and training goes on", done.stderr)
        wanted = wanted_scalars(self.out)["train/loss"]
        self.assertEqual(len(wanted), 24)
        # What there is is whole.
        seen = [(point.step, point.value) for point in self.accumulated().Scalars("train/loss")]
        self.assertTrue(0 < len(seen) < 24)
        self.assertEqual(seen, wanted[:len(seen)])

    def test_of_several_processes_one_writes(self):
        mpirun = shutil.which("mpirun")
        if not mpirun:
            self.skipTest("mpirun is not installed")
        done = subprocess.run([mpirun, "--oversubscribe", "-np", "2", *self.command("--set", "probes.activations=8")],
                              capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(self.event_files()), 1)
        self.assertEqual(len(self.assert_same_as_metrics().Histograms("gradients/" + self.some_parameter())), 3)

    def some_parameter(self):
        return next(tag[len("parameters/"):] for tag in self.accumulated().Tags()["histograms"]
                    if tag.startswith("parameters/"))

    def test_values_that_are_not_finite(self):
        self.train("--fault", "nan@step=2,replica=0", sets=["train.max_steps=4"])
        accumulator = self.accumulated()
        losses = [point.value for point in accumulator.Scalars("train/loss")]
        self.assertEqual([math.isfinite(value) for value in losses], [True, True, False, True])
        self.assert_same_as_metrics()
        self.assertEqual([point.step for point in accumulator.Scalars("train/skipped")], [2])

    def test_a_trial_of_a_study_leaves_none(self):
        self.train("--trial")
        self.assertEqual(self.event_files(), [])

    def test_the_web_server_shows_them(self):
        self.train("--fault", "kill@step=8,replica=0", sets=["train.checkpoint.every_steps=5"], status=-signal.SIGKILL)
        self.train("--resume", sets=["train.checkpoint.every_steps=5", "probes.activations=8"])
        wanted = wanted_scalars(self.out)
        loaders = ["false"]
        with contextlib.suppress(ImportError):
            import tensorboard_data_server  # noqa: F401
            loaders.append("true")
        for fast in loaders:
            with self.subTest(load_fast=fast), server(os.path.join(self.folder, "runs"), fast) as ask:
                self.assertEqual(ask("runs"), ["first"])
                tags = ask("plugin/scalars/tags")["first"]
                self.assertEqual(set(tags), set(wanted))
                for tag in ("train/loss", "test/accuracy", "test/batch/accuracy", "time/step_ms"):
                    # [wall time, step, value]
                    points = ask("plugin/scalars/scalars", run="first", tag=tag)
                    self.assertEqual([(step, value) for _, step, value in points], wanted[tag], tag)
                histograms = ask("plugin/histograms/tags")["first"]
                some = next(tag for tag in histograms if tag.startswith("gradients/"))
                drawn = ask("plugin/histograms/histograms", run="first", tag=some)
                # [wall time, step, [left, right, count] of each bucket]
                # From the checkpoint after step 7 on.
                self.assertEqual([step for _, step, _ in drawn], [15, 23])


def dump_of(path):
    """Values of parameters and gradients by the tags of their histograms."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header, values = json.loads(data[8:8 + size]), data[8 + size:]
    found = {}
    for name, entry in header.items():
        for lead, tag in (("before.", "parameters/"), ("gradient.", "gradients/")):
            if name.startswith(lead) and entry["dtype"] in ("F32", "F64"):
                begin, end = entry["data_offsets"]
                kind = "f" if entry["dtype"] == "F32" else "d"
                found[tag + name[len(lead):]] = struct.unpack(f"<{(end - begin) // struct.calcsize(kind)}{kind}",
                                                              values[begin:end])
    return found


@contextlib.contextmanager
def server(folder, fast):
    """TensorBoard, which answers ask(route, parameter=...)."""
    log = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "0", "--host", "127.0.0.1", "--load_fast",
         fast, "--reload_interval", "1", "--samples_per_plugin", "scalars=10000,histograms=100"],
        env={**os.environ, "PYTHONPATH": PACKAGES}, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            log.seek(0)
            said = log.read()
            found = re.search(r"http://127\.0\.0\.1:\d+/", said)
            if found:
                break
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.1)

        def ask(route, **parameters):
            url = found.group() + "data/" + route + ("?" + urllib.parse.urlencode(parameters) if parameters else "")
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return json.load(answer)
        # It listens before it has read.
        while not ask("runs") or not ask("plugin/histograms/tags").get("first"):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.wait()
        log.close()


if __name__ == "__main__":
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__]))
    failed = len(result.failures) + len(result.errors)
    test_report.end(result.testsRun - failed - len(result.skipped), failed)
