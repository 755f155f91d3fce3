"""tests/bench/compare with the distribution's PyTorch as its peer: steps so few and small that the figures say nothing,
but whatever else it does is done.

Usage: compare_test.py SYNCBN
"""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, os.path.join(HERE, "peers"))
import test_report  # noqa: E402

if importlib.util.find_spec("torch") is None:
    test_report.skip("there is no torch for this python3; install what launch/packages-test.txt lists")

import ratios  # noqa: E402

SYNCBN = os.path.abspath(sys.argv[1])


def compare(*words, script=os.path.join(HERE, "compare"), python=sys.executable):
    argv = [sys.executable, script, "--program", SYNCBN, "--python", python, "--models", "resnet20", "--batch", "4",
            "--rounds", "2", "--steps", "2", "--warm-up", "1", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600)


class Compare(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def changed_tree(self, old, new):
        """A copy of the scripts in which the peer is another one; its `compare`."""
        bench = os.path.join(self.folder, "tests", "bench")
        shutil.copytree(os.path.join(HERE, "peers"), os.path.join(bench, "peers"))
        shutil.copy(os.path.join(HERE, "compare"), bench)
        path = os.path.join(bench, "peers", "torch_peer.py")
        with open(path) as file:
            text = file.read()
        self.assertIn(old, text)
        with open(path, "w") as file:
            file.write(text.replace(old, new))
        return os.path.join(bench, "compare")

    def test_checks_and_times_a_peer(self):
        figures = os.path.join(self.folder, "figures.json")
        ended = compare("--peers", "pytorch,jax", "--settings", "one", "--json", figures)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertIn("resnet20, one process, batch 4; 2 rounds of 2 steps\nPROGRAM", ended.stdout)
        with open(figures) as file:
            (result,) = json.load(file)["results"]
        names = [row["program"] for row in result["rows"]]
        self.assertIn(names, (["syncbn", "pytorch"], ["syncbn", "pytorch", "jax"]))
        self.assertEqual("left out: jax, which" not in ended.stdout, "jax" in names)
        for row in result["rows"]:
            self.assertEqual(len(row["turns_ms"]), 2)
            self.assertGreater(min(row["turns_ms"]), 0)
            self.assertGreater(row["peak_mib"], 10)
            self.assertLessEqual(row["low"], row["over_syncbn"])
        self.assertEqual(result["rows"][0]["over_syncbn"], 1)

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "needs two cores")
    def test_two_processes_share_statistics_or_do_not(self):
        ended = compare("--peers", "pytorch,pytorch threads", "--settings", "synchronized,local", "--rounds", "1")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        first, second = ended.stdout.split("resnet20, 2 processes, local, batch 2 x 4")
        self.assertIn("resnet20, 2 processes, synchronized, batch 2 x 4", first)
        self.assertEqual(re.findall(r"^pytorch threads|^pytorch", first, re.MULTILINE), ["pytorch", "pytorch threads"])
        # One process has no statistics of each half.
        self.assertEqual(re.findall(r"^pytorch threads|^pytorch", second, re.MULTILINE), ["pytorch"])

    def test_a_net_that_a_run_file_writes_down(self):
        ended = compare("--peers", "pytorch,jax", "--models", "resnet9", "--settings", "one", "--rounds", "1")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertRegex(ended.stdout, r"resnet9, one process, batch 4; 1 rounds of 2 steps\nPROGRAM[^\0]*\npytorch ")

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "needs two cores")
    def test_a_peer_with_statistics_of_its_own_is_not_compared(self):
        script = self.changed_tree("if options.synchronized and", "if False and")
        ended = compare("--peers", "pytorch", "--settings", "synchronized", script=script)
        self.assertEqual(ended.returncode, 1, ended.stdout)
        self.assertIn("compare: pytorch computes something else: a loss of", ended.stderr)
        self.assertIn("in step 0", ended.stderr)

    def test_a_peer_with_another_optimizer_is_not_compared(self):
        script = self.changed_tree("momentum=0.9, nesterov=True", "momentum=0.9")
        ended = compare("--peers", "pytorch", "--settings", "one", script=script)
        self.assertEqual(ended.returncode, 1, ended.stdout)
        self.assertRegex(ended.stderr, "pytorch computes something else: a loss of .* in step [12]")

    def test_a_peer_that_does_not_run_is_left_out(self):
        script = self.changed_tree("torch.set_num_threads(", "raise SystemExit('no threads today')\n    torch.set_num_threads(")
        ended = compare("--peers", "pytorch", "--settings", "one", script=script)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("left out: pytorch has ended: no threads today", ended.stdout)

    def test_a_peer_that_does_not_answer_is_left_out(self):
        script = self.changed_tree("torch.set_num_threads(", "__import__('time').sleep(1000)\n    torch.set_num_threads(")
        path = os.path.join(os.path.dirname(script), "peers", "programs.py")
        with open(path) as file:
            text = file.read()
        self.assertIn("PATIENCE_SECONDS = 900", text)
        with open(path, "w") as file:
            file.write(text.replace("PATIENCE_SECONDS = 900", "PATIENCE_SECONDS = 3"))
        ended = compare("--peers", "pytorch", "--settings", "one", script=script)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("left out: pytorch has not answered for 3 s", ended.stdout)

    def test_wrong_words_are_named(self):
        ended = compare("--peers", "torch")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("--peers: there is no 'torch'; there are: pytorch, pytorch compiled", ended.stderr)
        ended = compare("--settings", "one", python="/bin/false")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("compare: /bin/false does not run", ended.stderr)


class Ratios(unittest.TestCase):
    def test_interval_is_students_of_the_logarithms(self):
        mean, low, high = ratios.interval([1, 4])
        self.assertAlmostEqual(mean, 2)
        # Half of log 4 either way: a standard error of log(2), times 12.706.
        self.assertAlmostEqual(low, 2 / 2 ** 12.706)
        self.assertAlmostEqual(high, 2 * 2 ** 12.706)
        self.assertEqual(ratios.interval([3.0])[1:], (None, None))


if __name__ == "__main__":
    outcome = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    bad = len(outcome.failures) + len(outcome.errors)
    test_report.end(outcome.testsRun - bad - len(outcome.skipped), bad, [reason for _, reason in outcome.skipped])
