"""The Python package as its users have it, for the tests of it: installed by pip into a folder of its own, from a copy
of the checkout.

A test is called `..._test.py SYNCBN SOURCE_FOLDER [TEST...]` and ends with `python_package.run(__name__)`, which puts the
package into it as `syncbn`.
"""
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import test_report

PATIENCE = 120
PROGRAM, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
PACKAGE = os.path.join(SOURCE, "src", "client", "python")
FOLDER = tempfile.mkdtemp(prefix="syncbn-python-")
SITE = os.path.join(FOLDER, "site")
CHECKOUT = os.path.join(FOLDER, "checkout")
# By the modules by which they are found: Debian's packages, of launch/packages.txt.
LIBRARIES = {"grpc": "python3-grpcio", "google.protobuf": "python3-protobuf", "yaml": "python3-yaml", "pip": "python3-pip",
             "pandas": "python3-pandas", "setuptools": "python3-setuptools", "wheel": "python3-wheel"}

RUN_FILE = """\
# comments travel with the job
name: python-client
data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 16}}
model: {layers: [{conv: {out: 4, kernel: 3, stride: 4}}, norm, relu, global_average_pool, {linear: 10}]}
cluster: {replicas: 2, batch_per_replica: 8}
train: {epochs: 2}
"""
STUDY = {
    "name": "rates", "question": "Which rate?",
    "run": {"data": {"dataset": "shapes", "shapes": {"train_samples": 64, "test_samples": 16}},
            "model": {"layers": [{"conv": {"out": 4, "kernel": 3, "stride": 4}}, "norm", "relu", "global_average_pool",
                                 {"norm": {"kind": "layer", "affine": False}}, {"linear": 10}]},
            "cluster": {"replicas": 2, "batch_per_replica": 8}, "train": {"epochs": 1}},
    "axes": [{"name": "learning rate", "path": "train.learning_rate.base", "values": [0.1, 0.01]}],
    "seeds": 2,
}


def install():
    """From a copy, so that nothing that pip leaves lies in the checkout."""
    missing = []
    for module, package in LIBRARIES.items():
        try:
            found = importlib.util.find_spec(module)
        except ImportError:
            found = None
        if found is None:
            missing.append(package)
    if not (shutil.which("protoc") and shutil.which("grpc_python_plugin")):
        missing.append("protobuf-compiler-grpc")
    if missing:
        test_report.skip("install " + ", ".join(missing))
    shutil.copytree(PACKAGE, os.path.join(CHECKOUT, "src", "client", "python"),
                    ignore=shutil.ignore_patterns("build", "*.egg-info", "v1"))
    shutil.copytree(os.path.join(SOURCE, "proto"), os.path.join(CHECKOUT, "proto"))
    shutil.copy(os.path.join(SOURCE, "CMakeLists.txt"), CHECKOUT)
    pip_install(SITE)
    sys.path.insert(0, SITE)


def pip_install(target):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--target", target,
         "./src/client/python"], cwd=CHECKOUT, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)


def run(name):
    """Runs the tests of the module of this name, and ends the process."""
    module, result, wanted = sys.modules[name], None, sys.argv[3:]
    try:
        install()
        module.syncbn = importlib.import_module("syncbn")
        loader = unittest.defaultTestLoader
        tests = loader.loadTestsFromNames(wanted, module) if wanted else loader.loadTestsFromModule(module)
        result = unittest.TextTestRunner(verbosity=2).run(tests)
        failed = len(result.failures) + len(result.errors)
        passed = result.testsRun - failed - len(result.skipped)
    finally:
        if result is None or result.wasSuccessful():
            shutil.rmtree(FOLDER, ignore_errors=True)
        else:
            print("kept:", FOLDER)
    test_report.end(passed, failed, [f"{test.id()}: {reason}" for test, reason in result.skipped])
