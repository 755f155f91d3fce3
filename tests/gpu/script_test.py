#!/usr/bin/env python3
"""`tests/gpu/run` without a GPU: what it says then, and its parts with the programs on the emulated device."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(sys.argv.pop(1))
# On the emulated device as they are named in a build with NVIDIA's libraries.
PROGRAMS = {"syncbn-cuda": "syncbn-emulated", "gpu_conformance_test": "backend_cuda_conformance_test",
            "gpu_kernels_bench": "emulated_kernels_bench", "gpu_step_bench": "emulated_step_bench"}


def run(*arguments, **environment):
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCBN_TEST_", "NCCL_"))}
    return subprocess.run([os.path.join(HERE, "run"), *arguments], capture_output=True, text=True, check=False,
                          env={**own, **environment})


def results(out):
    with open(os.path.join(out, "results.json"), encoding="utf-8") as file:
        return {part["part"]: part for part in json.load(file)["parts"]}


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def has_gpu():
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg")


class Script(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="gpu-script-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.out = os.path.join(self.folder, "out")
        self.build = os.path.join(self.folder, "build")
        os.makedirs(os.path.join(self.build, "bin"))
        for name, emulated in PROGRAMS.items():
            program = os.path.join(BUILD, "bin", emulated)
            self.assertTrue(os.access(program, os.X_OK), f"{program} is not built")
            os.symlink(program, self.program(name))

    def program(self, name):
        return os.path.join(self.build, "bin", name)

    def emulated(self, *parts, **environment):
        """All parts' ranks share one GPU."""
        # Longer than on a GPU: the device is emulated, and there may be sanitizers.
        limit = [] if "--limit" in parts else ["--limit", "600"]
        return run("--small", "--build", self.build, "--out", self.out, *limit, *parts,
                   SYNCBN_EMULATED_DEVICES="1", **environment)

    def test_list_names_each_part_and_runs_none(self):
        ended = run("--list")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        names = [line.split()[0] for line in ended.stdout.splitlines()[1:]]
        self.assertEqual(names, ["conformance", "sanitizer", "kernels", "steps", "torch-eager", "torch-compiled",
                                 "digests", "digests-nccl", "precision", "accuracy"])

    def test_an_unknown_part_is_an_error_that_names_those_there_are(self):
        ended = run("--out", self.out, "speed")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("there is no part 'speed'; there are conformance, ", ended.stderr)

    def test_without_a_gpu_nothing_runs_and_every_part_says_why(self):
        if has_gpu():
            self.skipTest("this machine has a GPU")
        ended = run("--build", BUILD, "--out", self.out)
        self.assertEqual(ended.returncode, 3, ended.stdout + ended.stderr)
        parts = results(self.out)
        self.assertEqual(len(parts), 9)
        for part in parts.values():
            self.assertEqual(part["status"], "skipped")
            # A build without CUDA has no such program.
            self.assertRegex(part["text"], "^no GPU can be used: .")

    def test_without_programs_nothing_runs(self):
        ended = run("--build", self.folder, "--out", self.out, "digests")
        self.assertEqual(ended.returncode, 3, ended.stdout)
        self.assertIn("bin/syncbn-cuda is not there: build it where nvcc", results(self.out)["digests"]["text"])

    def test_parts_pass_on_the_emulated_device(self):
        ended = self.emulated("conformance", "kernels", "steps", "digests", "digests-nccl", "precision",
                              SYNCBN_EMULATED_NCCL="23000")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        parts = results(self.out)
        self.assertEqual({part["status"] for part in parts.values()}, {"passed"})
        self.assertRegex(parts["conformance"]["text"], "^[1-9][0-9]* tests agree with the reference")
        self.assertRegex(parts["kernels"]["text"], "a copy moves .* of 25 cases reach")
        self.assertIn("resnet20 float32 ", parts["steps"]["text"])
        for name in ("digests", "digests-nccl"):
            self.assertIn("as many replicas: 2 in float32, 4 in float32", parts[name]["text"])
        self.assertIn("float32 ", parts["precision"]["text"])
        self.assertIn("resnet20 16x16, batch 2, bf16", ended.stdout)
        self.assertIn("GPU 0: Emulated, compute capability 9.0, 4 GiB", ended.stdout)

    def test_what_cannot_run_is_skipped_beside_what_can(self):
        # As a GPU machine whose Python has no PyTorch and whose NCCL is older.
        ended = self.emulated("precision", "digests-nccl", "torch-eager", "accuracy", "--python", "/bin/false")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        parts = results(self.out)
        self.assertEqual([part["status"] for part in parts.values()], ["passed", "skipped", "skipped", "skipped"])
        self.assertIn("need NCCL 2.30; this is 2.28.0", parts["digests-nccl"]["text"])
        self.assertIn("/bin/false has no PyTorch", parts["torch-eager"]["text"])
        self.assertIn("launch/get-data cifar10", parts["accuracy"]["text"])

    def test_a_packed_folder_brings_what_its_programs_load(self):
        missing = [name for name in PROGRAMS if not os.path.exists(os.path.join(BUILD, "bin", name))]
        if missing:
            self.skipTest(f"not built: {', '.join(missing)}")
        packed = os.path.join(self.folder, "packed")
        ended = subprocess.run([os.path.join(HERE, "pack"), packed, BUILD], capture_output=True, text=True, check=False)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        loaded = subprocess.run(["ldd", os.path.join(packed, "bin", "syncbn-cuda")], capture_output=True, text=True,
                                check=True, env={**os.environ, "LD_LIBRARY_PATH": os.path.join(packed, "lib")}).stdout
        for name in ("libgrpc++.so", "libdnnl.so", "libmpi.so"):
            self.assertRegex(loaded, rf"{name.replace('+', '[+]')}[.0-9]* => {packed}/lib/")
        self.assertEqual([name for name in os.listdir(os.path.join(packed, "lib")) if name.startswith(("libc.", "libcudnn"))], [])
        # Its Open MPI starts ranks, too.
        program = os.path.join(packed, "bin", "syncbn-cuda")
        os.remove(program)
        os.symlink(self.program("syncbn-cuda"), program)
        self.build = packed
        ended = self.emulated("digests")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        with open(os.path.join(self.out, "digests.log"), encoding="utf-8") as log:
            self.assertIn(f"exec {packed}/bin/mpirun -np 4 ", log.read())

    def plant(self, name, text):
        os.remove(self.program(name))
        with open(self.program(name), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + text)
        os.chmod(self.program(name), 0o755)

    def test_other_bits_fail_the_part(self):
        # Under mpirun the program trains something else.
        real = os.path.join(BUILD, "bin", "syncbn-emulated")
        self.plant("syncbn-cuda", f'[ -z "$OMPI_COMM_WORLD_SIZE" ] || set -- "$@" --set seed=7\nexec {real} "$@"\n')
        ended = self.emulated("digests")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertRegex(results(self.out)["digests"]["text"], "^2 ranks on one GPU and one rank with 2 replicas differ")

    def test_a_program_that_does_not_end_is_ended_and_fails_its_part(self):
        pids = os.path.join(self.folder, "pids")
        self.plant("gpu_step_bench", f"sleep 300 &\necho $! >> {pids}\nwait\n")
        ended = self.emulated("steps", "--limit", "3")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertEqual(results(self.out)["steps"]["text"], "none of 2 cases was over within 3 s")
        with open(pids, encoding="utf-8") as file:
            pids = file.read().split()
        self.assertEqual([pid for pid in pids if runs(pid)], [])

    def test_a_program_that_fails_fails_its_part_alone(self):
        self.plant("gpu_kernels_bench", "echo 'moments with 65 channels, result 0, is wrong' >&2; exit 1\n")
        self.plant("gpu_conformance_test", "echo '[  PASSED  ] 7 tests.'; echo '[  FAILED  ] 1 test, listed below:'\n"
                                           "echo '[  FAILED  ] Moments.Are/cuda'; exit 1\n")
        ended = self.emulated("kernels", "conformance", "precision")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        parts = results(self.out)
        self.assertEqual(parts["kernels"]["text"], "moments with 65 channels, result 0, is wrong")
        self.assertEqual(parts["conformance"]["text"], "1 of 8 tests: Moments.Are/cuda")
        self.assertEqual(parts["precision"]["status"], "passed")
        with open(os.path.join(self.out, "kernels.log"), encoding="utf-8") as log:
            self.assertIn("exit code 1", log.read())

    def test_ours_are_compared_with_what_pytorch_takes(self):
        os.makedirs(self.out)
        row = {"architecture": "resnet50", "side": 224, "batch": 128, "precision": "bf16"}
        for name, milliseconds in (("steps", 60.0), ("torch-eager", 75.0)):
            with open(os.path.join(self.out, name + ".json"), "w", encoding="utf-8") as file:
                json.dump([{**row, "median_ms": milliseconds}], file)
        # A Python that has a GPU, and is fast.
        python = os.path.join(self.folder, "python")
        with open(python, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n[ \"$1\" = -c ] && { echo True 2.11; exit; }\n"
                       f"echo '{json.dumps({**row, 'median_ms': 50.0})}'\n")
        os.chmod(python, 0o755)
        ended = self.emulated("torch-compiled", "--python", python)
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn("1.20 (resnet50 224x224, batch 128, bf16)", results(self.out)["torch-compiled"]["text"])
        self.assertRegex(ended.stdout, r"resnet50 224x224, batch 128, bf16 +60\.00 ms +75\.00 ms +50\.00 ms")


if __name__ == "__main__":
    unittest.main()
