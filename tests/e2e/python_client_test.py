"""The Python package as its users have it: installed by pip into a folder of its own, against a real coordinator that
is also killed, asks for tokens and speaks TLS; its types are checked, and its example is run.

Usage: python_client_test.py SYNCBN SOURCE_FOLDER [TEST...]
"""
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import python_package  # noqa: E402
from python_package import CHECKOUT, FOLDER, PACKAGE, PATIENCE, PROGRAM, RUN_FILE, SITE, SOURCE, STUDY, pip_install  # noqa: E402

syncbn = None  # the package, when it is installed

ENDLESS = {"train.epochs": 1_000_000}
DIVERGING = {"model": {"architecture": "mlp", "norm": "none", "init": {"scale": 1000}}, "train.epochs": 20,
             "train.learning_rate": {"base": 1000}, "train.optimizer": {"momentum": 0.9}}


class Coordinator:
    """`syncbn serve` in a folder, with a client of it."""

    def __init__(self, name, *options, **client_options):
        self.data = os.path.join(FOLDER, name)
        self.options, self.client_options = options, client_options

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(syncbn.Error):
            for job in self.client.jobs(state="open"):
                job.cancel(kill=True)
            for job in self.client.jobs(state="open"):
                job.wait(PATIENCE, check=False)
        self.client.close()
        self.stop(signal.SIGTERM)

    def start(self):
        with open(self.data + ".log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "serve", "--data", self.data, "--listen", "127.0.0.1:0", "--http", "off", "--slots", "4",
                 "--heartbeat", "0.2", "--ask-time", "5", *self.options], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        path = os.path.join(self.data, "server.json")
        while True:
            with contextlib.suppress(FileNotFoundError):
                with open(path) as file:
                    if json.load(file)["pid"] == self.process.pid:
                        break
            assert self.process.poll() is None and time.monotonic() < deadline, "the coordinator does not serve"
            time.sleep(0.05)
        # An option may be a file that it has just made.
        options = {key: value() if callable(value) else value for key, value in self.client_options.items()}
        self.client = syncbn.Client.of_data_folder(self.data, **options)

    def stop(self, number):
        self.process.send_signal(number)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def records_of(job):
    """metrics.jsonl of a job on this machine."""
    with open(os.path.join(job.result.output_folder, "metrics.jsonl")) as file:
        return [json.loads(line) for line in file]


def await_step(job, step):
    deadline = time.monotonic() + PATIENCE
    while job.progress.step < step:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


class InstallTest(unittest.TestCase):
    def test_what_an_earlier_build_has_left_is_not_installed(self):
        package = os.path.join(CHECKOUT, "src", "client", "python")

        def tree():
            return sorted(os.path.join(folder, name) for folder, _, names in os.walk(package) for name in names
                          if not name.endswith(".pyc"))
        self.assertEqual([path for path in tree() if "/build/" in path or ".egg-info" in path], [])
        for folder in ("build/lib/syncbn", "syncbn/v1"):
            os.makedirs(os.path.join(package, folder))
            with open(os.path.join(package, folder, "gone.py"), "w"):
                pass
        before, site = tree(), os.path.join(FOLDER, "site-again")
        try:
            pip_install(site)
            self.assertEqual(tree(), before)
        finally:
            for folder in ("build", "syncbn/v1"):
                shutil.rmtree(os.path.join(package, folder))
        installed = os.listdir(os.path.join(site, "syncbn")) + os.listdir(os.path.join(site, "syncbn", "v1"))
        self.assertIn("job_pb2.py", installed)
        self.assertNotIn("gone.py", installed)

    def test_version_is_that_of_the_program(self):
        said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(syncbn.__version__, r"^\d+\.\d+\.\d+$")
        self.assertIn(syncbn.__version__, said)


class TypesTest(unittest.TestCase):
    def mypy(self, *arguments):
        return subprocess.run(
            ["mypy", "--strict", "--config-file", os.path.join(PACKAGE, "pyproject.toml"), "--cache-dir",
             os.path.join(FOLDER, "mypy"), *arguments], cwd=SITE, env={**os.environ, "MYPYPATH": SITE},
            capture_output=True, text=True, timeout=PATIENCE)

    @unittest.skipUnless(shutil.which("mypy"), "mypy is not installed")
    def test_package_and_example_are_strict(self):
        for what in (["-p", "syncbn"], [os.path.join(PACKAGE, "examples", "batch_across_processes.py")]):
            done = self.mypy(*what)
            self.assertEqual(done.returncode, 0, done.stdout)

    @unittest.skipUnless(shutil.which("mypy"), "mypy is not installed")
    def test_a_users_mistake_is_found(self):
        self.assertTrue(os.path.exists(os.path.join(SITE, "syncbn", "py.typed")))
        script = os.path.join(FOLDER, "mistake.py")
        with open(script, "w") as file:
            file.write("import syncbn\njob = syncbn.Client().submit('run.yaml', processes='two')\n"
                       "if job.state == 'DONE':\n    pass\njob.metrics_()\n")
        found = self.mypy(script).stdout
        for line, kind in ((2, "arg-type"), (3, "comparison-overlap"), (5, "attr-defined")):
            self.assertRegex(found, rf"mistake.py:{line}: error: .*\[{kind}\]")


class JobsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.coordinator = cls.enterClassContext(Coordinator("jobs"))
        cls.client = cls.coordinator.client

    def test_a_wrong_file_is_refused_with_the_place_of_each_mistake(self):
        with self.assertRaises(syncbn.FileError) as caught:
            self.client.submit(RUN_FILE.replace("epochs", "epocs").replace("linear: 10", "linear: -1"))
        error = caught.exception
        self.assertEqual((error.code, error.reason), ("INVALID_ARGUMENT", "RUN_FILE_INVALID"))
        self.assertEqual([(fault.file, fault.line) for fault in error.faults], [("run.yaml", 4), ("run.yaml", 6)])
        self.assertIn("epocs", error.faults[1].text)
        self.assertIn("run.yaml:6:", str(error))
        with self.assertRaisesRegex(syncbn.FileError, "epocs"):
            self.client.submit({"data": {"dataset": "shapes"}, "train": {"epocs": 1}})
        with self.assertRaisesRegex(syncbn.FileError, "--set"):
            self.client.submit(RUN_FILE, overrides={"train.epochs": -1})
        with self.assertRaisesRegex(syncbn.InvalidRequest, "no file 'no.yaml'"):
            self.client.submit("no.yaml")
        with self.assertRaisesRegex(syncbn.InvalidRequest, "processes"):
            self.client.submit(RUN_FILE, processes=3)

    def test_followed_to_its_end(self):
        path = os.path.join(FOLDER, "run.yaml")
        with open(path, "w") as file:
            file.write(RUN_FILE)
        job = self.client.submit(path, processes=2, labels={"from": "python", "try": 1}, priority=3, time_limit="10m")
        events = list(job.follow(log=True))
        states = [event.to_state for event in events if isinstance(event, syncbn.StateChange)]
        self.assertEqual(states[-2:], ["RUNNING", "SUCCEEDED"])
        self.assertIsInstance(events[-1], syncbn.StateChange)
        # 64 samples in batches of 16, twice: 8 steps.
        points = [event for event in events if isinstance(event, syncbn.Metric)]
        losses = [point.value for point in points if point.name == "train/loss"]
        records = [one for one in records_of(job) if one["split"] == "train"]
        self.assertEqual(losses, [one["loss"] for one in records])
        lines = [event.text for event in events if isinstance(event, syncbn.LogLine)]
        self.assertEqual("".join(line + "\n" for line in lines), job.log())
        self.assertIn("python-client", job.log(rank=0))
        # The past is told again.
        again = [event for event in job.follow(metrics="train/loss")]
        self.assertEqual([event.value for event in again[:-1]], losses)
        self.assertEqual(again[-1].to_state, "SUCCEEDED")
        self.assertEqual([type(event) for event in job.follow(metrics=False)], [syncbn.StateChange])
        with self.assertRaisesRegex(syncbn.NotFound, "no series that fits 'nope'; there are .*train/loss"):
            job.follow(metrics="nope")
        with self.assertRaisesRegex(syncbn.NotFound, "has no metrics of rank 9"):
            job.metrics(rank=9)

        self.assertEqual(job.run_file(), RUN_FILE)
        self.assertIn("run.yaml:3", job.run_file(effective=True))
        result = job.result
        self.assertEqual((result.state, result.steps, result.attempts, result.failure), ("SUCCEEDED", 8, 1, None))
        self.assertEqual(result.test_accuracy, records_of(job)[-1]["accuracy"])
        listed = self.client.jobs(labels={"from": "python"}, state="SUCCEEDED", limit=5)
        self.assertEqual([one.name for one in listed], [job.name])
        self.assertIn("SUCCEEDED", repr(listed[0]))
        self.assertIn(f"<td>{job.name}</td>", listed._repr_html_())
        row = listed.frame().iloc[0]
        self.assertEqual((row["job"], row["processes"], row["label.try"], row["step"]), (job.id, 2, "1", 8))

    def test_metrics_are_a_frame(self):
        job = self.client.submit(RUN_FILE).wait(PATIENCE)
        frame = job.metrics()
        train = [one for one in records_of(job) if one["split"] == "train"]
        test = [one for one in records_of(job) if one["split"] == "test"]
        self.assertEqual(list(frame.columns[:2]), ["step", "epoch"])
        self.assertEqual(frame["step"].to_list(), list(range(8)))
        self.assertEqual(frame["epoch"].to_list(), [one["epoch"] for one in train])
        self.assertEqual(frame["train/loss"].to_list(), [one["loss"] for one in train])
        evaluated = frame[frame["test/accuracy"].notna()]
        self.assertEqual(evaluated["step"].to_list(), [one["step"] for one in test])
        self.assertEqual(evaluated["test/accuracy"].to_list(), [one["accuracy"] for one in test])
        self.assertEqual(list(job.metrics("test/*").columns), ["step", "epoch", "test/accuracy", "test/loss"])
        self.assertEqual(job.metrics(["train/loss"], points=2)["step"].to_list(), [0, 4])
        for call in (job.metrics, syncbn.Jobs([job, job]).metrics):
            for names, unfit in (("no/such", "'no/such'"), ("[[", "'[['"), (["train/loss", "zzz/*"], "'zzz/*'")):
                with self.assertRaises(syncbn.NotFound) as caught:
                    call(names)
                self.assertEqual(caught.exception.reason, "SERIES_NOT_FOUND")
                self.assertIn(f" no series that fits {unfit}; there are ", str(caught.exception))
                self.assertIn("test/accuracy, test/loss, ", str(caught.exception))
        for argument, value in (("points", 0), ("rank", -1), ("attempt", 0)):
            with self.assertRaisesRegex(syncbn.InvalidArgument, f"^{argument}: "):
                job.metrics(**{argument: value})
        several = syncbn.Jobs([job, job]).metrics("train/loss")
        self.assertEqual(list(several.columns), ["job", "name", "processes", "step", "epoch", "train/loss"])
        self.assertEqual(len(several), 16)

    def test_more_steps_than_fit_into_an_answer_come_all(self):
        from syncbn import frames
        job = self.client.submit(RUN_FILE, overrides={"train.epochs": 10}).wait(PATIENCE)
        whole = job.metrics()
        before = frames._MOST_STEPS, frames._MOST_POINTS
        try:
            frames._MOST_STEPS, frames._MOST_POINTS = 7, 20
            self.assertTrue(job.metrics().equals(whole))
        finally:
            frames._MOST_STEPS, frames._MOST_POINTS = before
        self.assertEqual(len(whole), 40)

    def test_submitted_twice_with_one_request_id_there_is_one_job(self):
        first = self.client.submit(RUN_FILE, request_id="once", labels={"id": "once"})
        self.assertEqual(self.client.submit(RUN_FILE, request_id="once", labels={"id": "once"}).name, first.name)
        with self.assertRaises(syncbn.Conflict) as caught:
            self.client.submit(RUN_FILE, request_id="once", labels={"id": "other"})
        self.assertEqual(caught.exception.reason, "REQUEST_ID_REUSED")
        self.assertEqual(len(self.client.jobs(labels={"id": "once"})), 1)

    def test_a_request_whose_answer_was_lost_is_carried_out_once(self):
        import grpc

        class Lost(grpc.RpcError):
            def code(self):
                return grpc.StatusCode.UNAVAILABLE

        connection, tries = self.client._connection, []
        create = connection.jobs.CreateJob

        def lossy(request, **more):
            answer = create(request, **more)
            tries.append(request.request_id)
            if len(tries) < 3:
                raise Lost()
            return answer
        connection.jobs.CreateJob = lossy
        try:
            job = self.client.submit(RUN_FILE, labels={"lost": 1})
        finally:
            connection.jobs.CreateJob = create
        self.assertEqual(len(tries), 3)
        self.assertEqual(len(set(tries)), 1)
        self.assertEqual([one.name for one in self.client.jobs(labels={"lost": 1})], [job.name])

    def test_checked_only(self):
        job = self.client.submit(RUN_FILE, check=True, labels={"checked": 1})
        self.assertEqual(self.client.jobs(labels={"checked": 1}), [])
        study = self.client.submit_study(STUDY, check=True)
        self.assertEqual((repr(job), repr(study)), ("<job 'python-client': checked, not submitted>",
                                                    "<study 'rates': checked, not submitted>"))
        for one in (job, study):
            self.assertIn("checked, not submitted", one._repr_html_())
            for call in (one.wait, one.cancel, one.refresh, one.delete, lambda: one.state, lambda: one.id):
                with self.assertRaisesRegex(syncbn.WrongState, "was checked, not submitted"):
                    call()
        for call in (job.metrics, job.log, job.follow, lambda: job.result, job.run_file, study.trials, study.jobs,
                     lambda: study.report(FOLDER, program=PROGRAM)):
            with self.assertRaisesRegex(syncbn.WrongState, "was checked, not submitted"):
                call()

    def test_an_unknown_job(self):
        with self.assertRaises(syncbn.NotFound) as caught:
            self.client.job(4711)
        self.assertEqual((caught.exception.code, caught.exception.reason), ("NOT_FOUND", "JOB_NOT_FOUND"))
        self.assertIn("client.jobs()", caught.exception.hint)
        with self.assertRaisesRegex(syncbn.InvalidRequest, "is no number"):
            self.client.job("studies/1")
        with self.assertRaises(syncbn.InvalidRequest):
            self.client.jobs("no such field = 1")
        self.assertEqual(self.client.jobs(limit=0), [])

    def test_paused_resumed_cancelled_and_retried(self):
        job = self.client.submit(RUN_FILE, overrides=ENDLESS, name="endless")
        self.assertEqual(job.title, "endless")
        with self.assertRaisesRegex(syncbn.WrongState, "no result yet"):
            job.result
        await_step(job, 5)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.assertEqual(len(job.metrics("test/no-such")), 0)
        self.assertIn("has no series that fits 'test/no-such' by now; there are ", str(caught[0].message))
        self.assertEqual(caught[0].filename, __file__)
        with self.assertRaises(TimeoutError):
            job.wait(0.2)
        job.pause(reason="for a test")
        for event in job.follow(metrics=False):
            if event.to_state == "PAUSED":
                break
        paused_at = job.progress.step
        self.assertGreater(paused_at, 0)
        job.resume(processes=2)
        await_step(job, paused_at + 5)
        self.assertEqual(job.processes, 2)
        with self.assertRaises(syncbn.WrongState):
            job.retry()
        job.cancel()
        with self.assertRaises(syncbn.JobCancelled):
            job.wait(PATIENCE)
        self.assertEqual(job.result.state, "CANCELLED")
        with self.assertRaises(syncbn.JobCancelled):
            syncbn.Jobs([job]).wait()
        job.retry()
        await_step(job, job.progress.step + 5)
        job.cancel(kill=True).wait(PATIENCE, check=False)
        job.delete()
        with self.assertRaises(syncbn.NotFound):
            job.refresh()

    def test_a_job_that_fails_says_why(self):
        job = self.client.submit(RUN_FILE, overrides=DIVERGING)
        with self.assertRaises(syncbn.JobFailed) as caught:
            job.wait(PATIENCE)
        self.assertEqual(caught.exception.failure_class, "DIVERGED")
        self.assertEqual(job.failure.failure_class, "DIVERGED")
        self.assertIn(job.failure.message, str(caught.exception))
        self.assertEqual(job.result.failure, job.failure)

    def test_a_study(self):
        folder = os.path.join(FOLDER, "study")
        os.makedirs(os.path.join(folder, "below"))
        with open(os.path.join(folder, "run.json"), "w") as file:
            json.dump(STUDY["run"], file)
        path = os.path.join(folder, "below", "study.json")
        with open(path, "w") as file:
            json.dump({**STUDY, "run": "../run.json"}, file)
        study = self.client.submit_study(path, labels={"team": "vision"}, at_once=2).wait(PATIENCE)
        progress = study.progress()
        self.assertEqual((study.state, progress.known, progress.done, progress.failed), ("SUCCEEDED", 4, 4, 0))
        self.assertEqual(len(study.jobs()), 4)
        report = study.report(os.path.join(folder, "out"), program=PROGRAM)
        self.assertTrue("Which rate?" in report.read_text(), report)

        import pandas
        trials = study.trials().set_index("trial")
        self.assertEqual(list(trials.columns[:4]), ["learning_rate", "seed", "job", "state"])
        wanted = pandas.read_csv(os.path.join(folder, "out", "trials.csv"), float_precision="round_trip").set_index("trial")
        self.assertEqual(set(trials.index), set(wanted.index))
        for column, known_as in (("learning_rate", "learning rate"), ("seed", "seed"), ("state", "end"), ("steps", "steps"),
                                 ("samples", "samples"), ("test_accuracy", "test_accuracy"), ("train_loss", "train_loss"),
                                 ("best_test_accuracy", "best_test_accuracy"), ("test_loss", "test_loss")):
            for trial in trials.index:
                self.assertEqual(trials.loc[trial, column], wanted.loc[trial, known_as], (trial, column))
        self.assertEqual(progress.best_test_accuracy, trials["test_accuracy"].max())
        self.assertIn("4 of 4", repr(self.client.study(study.id)))
        self.assertIn(study.name, [one.name for one in self.client.studies()])
        with self.assertRaises(syncbn.MissingPackage):
            study.report(folder, program="no-such-program")
        study.delete()
        with self.assertRaises(syncbn.NotFound):
            self.client.study(study.id)

    def test_a_study_that_diverges_is_cancelled_or_is_wrong(self):
        wrong = {**STUDY, "axis": []}
        with self.assertRaises(syncbn.FileError) as caught:
            self.client.submit_study(wrong)
        self.assertEqual(caught.exception.reason, "STUDY_FILE_INVALID")
        self.assertGreater(caught.exception.faults[0].line, 1)
        diverging = {**STUDY, "set": DIVERGING, "seeds": 1, "axes": []}
        frame = self.client.submit_study(diverging).wait(PATIENCE).trials()
        self.assertEqual((frame["state"][0], frame["test_accuracy"][0]), ("diverged", 0.1))
        study = self.client.submit_study({**STUDY, "set": {"train.epochs": 1_000_000}}, at_once=1)
        with self.assertRaises(TimeoutError):
            study.wait(0.1)
        self.assertEqual(study.pause().state in ("PAUSING", "PAUSED"), True)
        study.cancel()
        with self.assertRaises(syncbn.StudyFailed):
            study.wait(PATIENCE)
        self.assertTrue(set(study.trials()["state"]) <= {"CANCELLED", "failed", "finished"})

    def test_the_example(self):
        done = subprocess.run(
            [sys.executable, os.path.join(PACKAGE, "examples", "batch_across_processes.py"), self.client.address,
             os.path.join(FOLDER, "plot.svg")], env={**os.environ, "PYTHONPATH": SITE}, cwd=FOLDER, text=True,
            capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("one process and two have the same losses", done.stdout)
        self.assertRegex(done.stdout, r"128 +2 +16 ")
        self.assertTrue("no plot" in done.stdout or os.path.getsize(os.path.join(FOLDER, "plot.svg")) > 1000)

    def test_the_lines_of_the_readme(self):
        with open(os.path.join(PACKAGE, "README.md")) as file:
            code = re.search(r"(?s)```python\n(.*?)```", file.read()).group(1)
        folder = os.path.join(FOLDER, "readme")
        os.mkdir(folder)
        os.symlink(os.path.join(SOURCE, "configs"), os.path.join(folder, "configs"))
        # The page's own files; of the study with fewer seeds and samples.
        with open(os.path.join(folder, "configs", "studies", "norm-batch.yaml")) as file:
            study = file.read()
        for pattern, new in ((r"(?m)^seeds: \d+", "seeds: 2"), (r"train_samples: \d+, test_samples: \d+",
                                                               "train_samples: 256, test_samples: 64"),
                             (r"epochs: \d+", "epochs: 1")):
            study, count = re.subn(pattern, new, study)
            self.assertEqual(count, 1, pattern)
        with open(os.path.join(folder, "fewer.yaml"), "w") as file:
            file.write(study)
        # Its own coordinator, the program that was built, and no plot where matplotlib is missing.
        changes = [('"localhost:7700"', repr(self.client.address)), ('"configs/studies/norm-batch.yaml"', '"fewer.yaml"'),
                   ('{"train.epochs": 1}', '{"train.epochs": 1, "data.shapes.train_samples": 256, "data.shapes.test_samples": 64}'),
                   ('"studies/norm-batch")', f'"studies/norm-batch", program={PROGRAM!r})')]
        if importlib.util.find_spec("matplotlib") is None:
            changes.append(('.plot(x="step", y="train/loss")', '[["step", "train/loss"]]'))
        for old, new in changes:
            self.assertEqual(code.count(old), 1, old)
            code = code.replace(old, new)
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": SITE}, cwd=folder, text=True,
                              capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("to_state='SUCCEEDED'", done.stdout)
        self.assertTrue(os.path.exists(os.path.join(folder, "studies", "norm-batch", "report.html")))

    def test_the_environment_is_that_of_the_commands(self):
        script = "import syncbn; print(len(syncbn.Client().jobs(limit=1)))"
        done = subprocess.run(
            [sys.executable, "-c", script], text=True, capture_output=True, timeout=PATIENCE, check=True,
            env={**os.environ, "PYTHONPATH": SITE, "SYNCBN_SERVER": self.client.address})
        self.assertIn(done.stdout, ("0\n", "1\n"))


class OutageTest(unittest.TestCase):
    def test_following_goes_on_when_the_coordinator_was_killed(self):
        with Coordinator("outage") as coordinator:
            client = coordinator.client
            job = client.submit(RUN_FILE, overrides=ENDLESS, name="endless")
            points, states, enough = [], [], threading.Event()

            def follow():
                for event in job.follow(metrics=["train/loss"]):
                    if isinstance(event, syncbn.StateChange):
                        states.append(event.to_state)
                    else:
                        points.append(event)
                        if len(points) > 20:
                            enough.set()
            threads = [threading.Thread(target=follow),
                       threading.Thread(target=lambda: client.job(job.id).wait(check=False))]
            for thread in threads:
                thread.start()
            self.assertTrue(enough.wait(PATIENCE))
            coordinator.stop(signal.SIGKILL)
            # Long enough for both to have noticed.
            time.sleep(1)
            coordinator.start()
            self.assertEqual(coordinator.client.address, client.address)
            await_step(job, job.progress.step + 20)
            job.cancel()
            for thread in threads:
                thread.join(PATIENCE)
                self.assertFalse(thread.is_alive())
            self.assertEqual(states[-1], "CANCELLED")
            # Each step once, in order, and all that there are.
            wanted = job.metrics("train/loss")
            self.assertEqual([point.step for point in points], wanted["step"].to_list())
            self.assertEqual([point.value for point in points], wanted["train/loss"].to_list())

    def test_nobody_there(self):
        client = syncbn.Client("127.0.0.1:1", tries=2)
        for call in (client.jobs, lambda: client.submit(RUN_FILE)):
            begin = time.monotonic()
            with self.assertRaises(syncbn.Unreachable) as caught:
                call()
            self.assertLess(time.monotonic() - begin, 20)
            self.assertIn("127.0.0.1:1", str(caught.exception))
            self.assertIn("syncbn serve", caught.exception.hint)


class AccessTest(unittest.TestCase):
    def test_tokens(self):
        file = os.path.join(FOLDER, "admin.token")
        with Coordinator("tokens", "--admin-token-file", file, token_file=file) as coordinator:
            self.assertEqual(coordinator.client.jobs(), [])
            self.assertNotIn(coordinator.client._connection.token, repr(coordinator.client))
            viewer = os.path.join(FOLDER, "viewer.token")
            subprocess.run([PROGRAM, "token", "create", "viewer", "--role", "viewer", "--out", viewer, "--token-file", file,
                            "--coordinator", coordinator.client.address], check=True, capture_output=True, timeout=PATIENCE)
            for token in (None, "wrong"):
                with self.assertRaises(syncbn.AccessDenied) as caught:
                    syncbn.Client(coordinator.client.address, token=token).jobs()
                self.assertEqual(caught.exception.reason, "UNAUTHENTICATED")
                self.assertIn("SYNCBN_USER_TOKEN", caught.exception.hint)
            looking = syncbn.Client(coordinator.client.address, token_file=viewer)
            self.assertEqual(looking.jobs(), [])
            with self.assertRaises(syncbn.AccessDenied) as caught:
                looking.submit(RUN_FILE)
            self.assertEqual(caught.exception.reason, "ROLE_TOO_LOW")

    @unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
    def test_tls(self):
        path = os.path.join(FOLDER, "tls")
        os.mkdir(path)
        key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        script = "set -e; printf 'subjectAltName=IP:127.0.0.1\\n' > san\n" + "".join(
            f"openssl req -x509 {key} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem\n" for name in ("ca", "other"))
        for name in ("server", "user"):
            script += (f"openssl req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr\n"
                       f"openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san "
                       f"-out {name}.pem\n")
        subprocess.run(script, shell=True, cwd=path, check=True, capture_output=True)
        pem = {name: os.path.join(path, name) for name in os.listdir(path)}
        user = {"ca": pem["ca.pem"], "cert": pem["user.pem"], "key": pem["user.key"]}
        with Coordinator("tls-data", "--tls-cert", pem["server.pem"], "--tls-key", pem["server.key"], "--tls-client-ca",
                         pem["ca.pem"], "--worker-ca", pem["ca.pem"], "--worker-cert", pem["user.pem"], "--worker-key",
                         pem["user.key"], **user) as coordinator:
            self.assertEqual(coordinator.client.jobs(), [])
            address = coordinator.client.address
            for options, hint in (({}, "ca="), ({"ca": pem["other.pem"]}, "authority"), ({"ca": pem["ca.pem"]}, "")):
                with self.assertRaises(syncbn.Unreachable) as caught:
                    syncbn.Client(address, tries=2, **options).jobs()
                self.assertIn(hint, caught.exception.hint, str(caught.exception))
            job = coordinator.client.submit(RUN_FILE).wait(PATIENCE)
            self.assertEqual(len(job.metrics("train/loss")), 8)


if __name__ == "__main__":
    python_package.run(__name__)
