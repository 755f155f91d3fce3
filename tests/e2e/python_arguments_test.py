"""What the Python package makes of its arguments: what is written of them, and that each that cannot be right is named
as its caller wrote it, before anything is sent. No coordinator.

Usage: python_arguments_test.py SYNCBN SOURCE_FOLDER [TEST...]
"""
import datetime
import math
import os
import re
import subprocess
import sys
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import python_package  # noqa: E402
from python_package import FOLDER, PACKAGE, PATIENCE, RUN_FILE, SITE, SOURCE, STUDY  # noqa: E402

syncbn = None  # the package, when it is installed


class ArgumentsTest(unittest.TestCase):
    def test_what_it_is_installed_with_is_in_the_list_of_packages(self):
        with open(os.path.join(SOURCE, "launch", "packages.txt")) as file:
            listed = {line.strip() for line in file if not line.startswith("#")}
        with open(os.path.join(PACKAGE, "README.md")) as file:
            named = set(re.findall(r"`((?:python3-|protobuf-compiler)[a-z-]*)`", file.read()))
        self.assertIn("python3-venv", named)
        self.assertEqual((named | set(python_package.LIBRARIES.values())) - listed, set())

    def test_relative_inputs_mean_a_path_from_here(self):
        from syncbn import files
        text = "data: {dataset: mnist, path: some/where}\nmodel: {init: {from: /a.safetensors}}\n"
        self.assertEqual(files.absolute_inputs(text, []), [f'data.path="{os.getcwd()}/some/where"'])
        self.assertEqual(files.absolute_inputs(text, ['data.path="/abs"', 'model.init.from="b"']),
                         [f'model.init.from="{os.getcwd()}/b"'])
        self.assertEqual(files.absolute_inputs("model: {init: he", []), [])

    def test_numbers_of_numpy_are_written(self):
        import numpy
        from syncbn import files
        self.assertEqual(files.overrides({"a": numpy.float64(0.5), "b": numpy.arange(3), "c": "x y", "d": True}),
                         ["a=0.5", "b=[0, 1, 2]", 'c="x y"', "d=true"])
        within = {}
        within["itself"] = within
        for wrong, place in (({"a": math.nan}, r"overrides\['a'\]: nan"), ({"a": {"b": [1, math.inf]}}, r"'a'\]\.b\[1\]: inf"),
                             ({"a": {"b": {1}}}, r"'a'\]\.b: \{1\}, a set"), ({"a": within}, "levels deep"),
                             ({"a": "\ud800"}, "half a character"), ({1: 2}, "a key of overrides: 1"),
                             (["a=1"], "overrides: .* expected a dict")):
            with self.assertRaisesRegex(syncbn.InvalidArgument, place):
                files.overrides(wrong)

    def test_tables_are_escaped(self):
        from syncbn import html
        self.assertNotIn("<script", html.table(["<script>"], [["<script>alert(1)</script>"]]))

    def test_what_cannot_be_right_is_refused_before_it_is_sent(self):
        for wrong in ("localhost", "local host:1", "http://localhost:7700"):
            with self.assertRaisesRegex(syncbn.InvalidRequest, "HOST:PORT"):
                syncbn.Client(wrong)
        with self.assertRaisesRegex(syncbn.InvalidRequest, "ca as well"):
            syncbn.Client("localhost:1", cert="a", key="b")
        with self.assertRaisesRegex(syncbn.InvalidRequest, "is no PEM file"):
            syncbn.Client("localhost:1", ca=__file__)
        with self.assertRaisesRegex(syncbn.InvalidRequest, "no coordinator serves"):
            syncbn.Client.of_data_folder(FOLDER)

    def test_an_argument_is_named_as_its_caller_wrote_it(self):
        client = syncbn.Client("127.0.0.1:1", tries=1)
        job = syncbn.Job(client._connection, None)
        nan, empty, latin = math.nan, os.path.join(FOLDER, "empty"), os.path.join(FOLDER, "latin")
        open(empty, "w").close()
        with open(latin, "wb") as file:
            file.write(b"\xff")
        submit, wrong = (lambda **more: lambda: client.submit(RUN_FILE, **more)), []
        for argument, values in {
                "processes": ["2", 2 ** 40, 0, 1.5, True], "threads": [0, None], "memory_mib": [-1, 2 ** 70],
                "priority": ["high", -2 ** 40], "max_retries": [-1, "3"], "processes_per_host": [-1],
                "time_limit": ["2x", "", "1h30", "5 h", nan, math.inf, 0, -1, 1e300, [], datetime.timedelta(0)],
                "name": ["\ud800", 5], "hosts": ["node1", [1]], "host_tags": [None], "labels": [["a"], {"a": "\ud800"}, {1: 2}, {"a": None}],
                "environment": [{"A": 1}], "output_folder": [None], "request_id": [7], "overrides": [["a=1"]]}.items():
            wrong += [(argument, submit(**{argument: value})) for value in values]
        for value in ("", FOLDER, 5, None, b"run.yaml", os.path.join(FOLDER, "none"), latin, "a\0b", "\ud800\n"):
            wrong.append(("run: .*YAML text|run: .*UTF-8", lambda value=value: client.submit(value)))
        wrong += [
            (r"run\.train\.learning_rate\.base: nan", lambda: client.submit({"train": {"learning_rate": {"base": nan}}})),
            ("study: ", lambda: client.submit_study("")), ("form", lambda: client.submit_study(STUDY, form=1)),
            ("at_once", lambda: client.submit_study(STUDY, at_once=-1)), ("limit", lambda: client.jobs(limit=-1)),
            ("limit", lambda: client.studies(limit="3")), ("filter", lambda: client.jobs(3)),
            ("labels", lambda: client.jobs(labels={"a": '" OR "'})), ("name", lambda: client.job("\u00b2")),
            ("timeout", lambda: job.wait("2h")), ("timeout", lambda: job.wait(nan)), ("timeout", lambda: job.wait(1e300)),
            ("rank", lambda: job.log(attempt=1, rank=-1)),
            ("address", lambda: syncbn.Client("localhost:99999")), ("address", lambda: syncbn.Client("\ud800:1")),
            ("deadline", lambda: syncbn.Client(deadline=nan)), ("tries", lambda: syncbn.Client(tries=0)),
            ("ca: there is no file", lambda: syncbn.Client(ca="no.pem")), ("ca: .* is a folder", lambda: syncbn.Client(ca=FOLDER)),
            ("token_file: there is no file", lambda: syncbn.Client(token_file="no.token")),
            ("token_file: .* is empty", lambda: syncbn.Client(token_file=empty)),
            ("token_file: .*UTF-8", lambda: syncbn.Client(token_file=latin))]
        with mock.patch.object(syncbn.Job, "name", "jobs/1"):
            for number, (words, call) in enumerate(wrong):
                with self.subTest(number=number, words=words):
                    with self.assertRaisesRegex(syncbn.InvalidArgument, "^(.* )?(" + words + ")") as caught:
                        call()
                    error = caught.exception
                    self.assertIsInstance(error, ValueError)
                    self.assertIsInstance(error, syncbn.Error)
                    self.assertEqual(error.code, "INVALID_ARGUMENT")
                    self.assertTrue(str(error).startswith(error.argument + ": ") and "; expected " + error.expected in str(error))

    def test_a_closed_client_says_that_it_is(self):
        client = syncbn.Client("127.0.0.1:1", tries=1)
        job = syncbn.Job(client._connection, None)
        client.close()
        with mock.patch.object(syncbn.Job, "name", "jobs/1"):
            for call in (client.jobs, client.studies, lambda: client.job(1), job.cancel, lambda: job.wait(1)):
                with self.assertRaisesRegex(syncbn.WrongState, "this client was closed"):
                    call()

    def test_time_limits_are_those_of_the_command_line(self):
        from syncbn import arguments
        for value, seconds in (("2h", 7200), ("30m", 1800), ("45s", 45), ("90", 90), ("1h30m", 5400), ("1d", 86400),
                               ("1.5h", 5400), (600, 600), (2.5, 2.5), (datetime.timedelta(minutes=2), 120)):
            self.assertEqual(arguments.time_limit(value).total_seconds(), seconds, value)
        self.assertIsNone(arguments.time_limit(None))

    def test_a_token_that_no_header_holds_is_not_printed(self):
        token_file = os.path.join(FOLDER, "wrong.token")
        with open(token_file, "w") as file:
            file.write("SECRET\u00fc")
        script = ("import sys, syncbn\n"
                  "for options in ({'token': 'SECRET\u00fc'}, {'token': 'SECRET x'}, {'token': 'SECRET\\n'}, {'token': b'SECRET'},\n"
                  "                {'token_file': sys.argv[1]}, {}):\n"
                  "    try: syncbn.Client('127.0.0.1:1', tries=1, **options).jobs()\n"
                  "    except syncbn.InvalidArgument as error: print(error)")
        done = subprocess.run(
            [sys.executable, "-c", script, token_file], text=True, capture_output=True, timeout=PATIENCE,
            env={**os.environ, "PYTHONPATH": SITE, "SYNCBN_USER_TOKEN": "SECRET\u00fc", "PYTHONUTF8": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("SECRET", done.stdout + done.stderr)
        self.assertEqual([line.partition(":")[0] for line in done.stdout.splitlines()],
                         ["token"] * 4 + ["token_file", "SYNCBN_USER_TOKEN"])

    def test_pandas_is_asked_for_only_by_frames(self):
        script = ("import sys; sys.modules['pandas'] = None; import syncbn\n"
                  "try: syncbn.Jobs().frame()\nexcept syncbn.MissingPackage as error: print(error)")
        done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": SITE}, text=True,
                              capture_output=True, timeout=PATIENCE, check=True)
        self.assertIn("apt-get install python3-pandas", done.stdout)


if __name__ == "__main__":
    python_package.run(__name__)
