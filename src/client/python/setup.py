"""Generates the messages and stubs of proto/syncbn/v1 into the package: with protoc and grpc_python_plugin where they
are installed (Debian: protobuf-compiler, protobuf-compiler-grpc), else with grpc_tools, which pip then installs for the
build. So they fit the libraries of this machine, and no generated file is kept in the source."""
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
PROTOS = os.path.join(ROOT, "proto")
# Each build is one of its own: what an earlier one has left, of modules that are gone, would be installed again.
SCRATCH = tempfile.mkdtemp(prefix="syncbn-build-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
PROTOC, PLUGIN = shutil.which("protoc"), shutil.which("grpc_python_plugin")


def version():
    """That of the program."""
    try:
        with open(os.path.join(ROOT, "CMakeLists.txt")) as file:
            return re.search(r"project\(syncbn VERSION ([0-9.]+)", file.read()).group(1)
    except FileNotFoundError:
        sys.exit(f"no CMakeLists.txt in {ROOT}: install the package from a checkout of syncbn, `pip install "
                 "CHECKOUT/src/client/python`, since its stubs are made of the schemas there")


def generator():
    if PROTOC and PLUGIN:
        return [PROTOC, f"--plugin=protoc-gen-grpc_python={PLUGIN}"]
    try:
        import grpc_tools
    except ImportError:
        sys.exit("the stubs need protoc and grpc_python_plugin (Debian: apt-get install protobuf-compiler "
                 "protobuf-compiler-grpc) or grpc_tools (pip install grpcio-tools)")
    included = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    return [sys.executable, "-m", "grpc_tools.protoc", f"-I{included}"]


class BuildWithStubs(build_py):
    def run(self):
        super().run()
        # `pip install --editable` imports what lies in the source.
        target = HERE if getattr(self, "editable_mode", False) else self.build_lib
        package = os.path.join(target, "syncbn", "v1")
        shutil.rmtree(package, ignore_errors=True)
        os.makedirs(package)
        names = sorted(name for name in os.listdir(os.path.join(PROTOS, "syncbn", "v1")) if name.endswith(".proto"))
        subprocess.run(
            generator() + [f"-I{PROTOS}", f"--python_out={target}", f"--pyi_out={target}",
                           f"--grpc_python_out={target}"] + ["syncbn/v1/" + name for name in names], check=True)
        with open(os.path.join(package, "__init__.py"), "w") as file:
            file.write('"""The messages and stubs of the API, made by protoc of proto/syncbn/v1."""\n')


setup(
    version=version(),
    cmdclass={"build_py": BuildWithStubs},
    options={"build": {"build_base": SCRATCH}, "egg_info": {"egg_base": SCRATCH}},
    # Its newest code refuses libraries older than itself; 1.62 is the last for protobuf 4.
    setup_requires=[] if PROTOC and PLUGIN else [
        "grpcio-tools~=1.62.0; python_version < '3.13'", "grpcio-tools>=1.66; python_version >= '3.13'"],
)
