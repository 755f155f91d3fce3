"""What the parts of `run` share: programs and how they are started, results, tables."""
import dataclasses
import functools
import glob
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from typing import Callable

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Skipped(Exception):
    """The part cannot run here; says why."""


class Failed(Exception):
    """The part has run and shown a mistake, or a target that is missed."""


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    limit: int  # seconds
    what: str
    run: Callable  # of a Context: a line that says what was found; raises Skipped or Failed
    needs_gpu: bool = True
    by_default: bool = True


@dataclasses.dataclass
class Ended:
    code: int
    out: str
    err: str

    def last_line(self):
        lines = [line for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit code {self.code}"


class TooLong(Failed):
    """A command had not ended when its part had to."""


def table(rows):
    """Rows of texts as lines, each column as wide as its widest."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = ["  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[-1]]) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


class Context:
    def __init__(self, options):
        self.options = options
        self.small = options.small
        self.out = options.out
        self.build = options.build or os.path.join(SOURCE, "build")
        os.makedirs(self.out, exist_ok=True)
        self.part, self.deadline = None, None
        self.libraries = self._library_path()
        self.machine = self._describe()

    # -- What is there ---------------------------------------------------------------------------

    def program(self, name):
        path = os.path.join(self.build, "bin", name)
        if not os.access(path, os.X_OK):
            raise Skipped(f"{path} is not there: build it where nvcc, cuBLAS, cuDNN and NCCL are (launch/build), or "
                          f"name such a build with --build")
        return path

    def _library_path(self):
        """NVIDIA's libraries where the loader does not find them by itself: beside the programs, in CUDA's folder, in
        the packages of a Python."""
        try:
            program = self.program("syncbn-cuda")
        except Skipped:
            return {}
        loaded = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        own = os.path.abspath(os.path.join(self.build, "lib"))
        folders = [own] if os.path.isdir(own) else []
        if "not found" in loaded.stdout:
            folders += glob.glob("/usr/local/cuda/lib64")
            asked = subprocess.run([self.options.python, "-c", "import nvidia; print('\\n'.join(nvidia.__path__))"],
                                   capture_output=True, text=True, check=False) if shutil.which(self.options.python) else None
            for path in asked.stdout.splitlines() if asked and asked.returncode == 0 else []:
                folders += sorted(glob.glob(os.path.join(path, "*", "lib")))
        if not folders:
            return {}
        before = os.environ.get("LD_LIBRARY_PATH")
        return {"LD_LIBRARY_PATH": ":".join(folders + ([before] if before else []))}

    def _describe(self):
        """What `syncbn-cuda info` says of the machine, and why there is no GPU."""
        try:
            program = self.program("syncbn-cuda")
        except Skipped as reason:
            return {"problem": str(reason), "gpus": [], "versions": {}}
        ended = self._run([program, "info", "--json"], 60)
        try:
            info = json.loads(ended.out)
        except ValueError:
            return {"problem": f"{program} cannot be run: {ended.last_line()}", "gpus": [], "versions": {}}
        return {"host": info["host"], "build": info["build"], **info["cuda"]}

    def introduction(self):
        lines = [f"date: {time.strftime('%Y-%m-%d %H:%M:%S %Z')}", f"programs: {self.build}/bin"]
        lines += [f"GPU {gpu['ordinal']}: {gpu['name']}, compute capability {gpu['compute_capability']}, "
                  f"{gpu['memory_bytes'] / 2**30:.0f} GiB" for gpu in self.machine["gpus"]]
        versions = ", ".join(f"{name} {version}" for name, version in self.machine["versions"].items())
        lines += [f"libraries: {versions}"] if versions else []
        lines += [f"no GPU: {self.machine['problem']}"] if self.machine["problem"] else []
        return "\n".join(lines)

    def require_gpu(self):
        if self.machine["problem"]:
            raise Skipped(f"no GPU can be used: {self.machine['problem']}")

    def version(self, library):
        """(2, 30, 7) of "2.30.7"; () where there is none."""
        text = self.machine["versions"].get(library, "")
        return tuple(int(number) for number in text.split(".") if number.isdigit())

    # -- What is run -----------------------------------------------------------------------------

    def begin(self, part):
        self.part = part
        with open(self.path(part.name + ".log"), "w", encoding="utf-8"):
            pass  # what an earlier call has left
        self.deadline = time.monotonic() + part.limit

    def left(self):
        return self.deadline - time.monotonic()

    def path(self, name):
        return os.path.join(self.out, name)

    def command(self, argv, environment=None):
        """Runs it, with what is left of the part's time. Everything it says is in PART.log. Only our programs are shown
        libraries: a Python's own are others."""
        if self.left() < 1:
            raise TooLong(f"the part's {self.part.limit} s are over before: {shlex.join(argv)}")
        ended = self._run(argv, self.left(), environment)
        with open(self.path(self.part.name + ".log"), "a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(argv)}\n{ended.out}{ended.err}exit code {ended.code}\n\n")
        return ended

    def _run(self, argv, seconds, environment=None):
        own = {} if os.path.basename(argv[0]).startswith("python") else self.libraries
        process = subprocess.Popen(argv, env={**os.environ, **own, **(environment or {})}, text=True, errors="replace",
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the ranks of an mpirun
            out, err = process.communicate()
            if self.part is None:
                return Ended(-1, out, f"{err}\nit did not end within {seconds:.0f} s")
            with open(self.path(self.part.name + ".log"), "a", encoding="utf-8") as log:
                log.write(f"$ {shlex.join(argv)}\n{out}{err}killed\n\n")
            raise TooLong(f"not over when the part's {self.part.limit} s were: {shlex.join(argv)}") from None
        return Ended(process.returncode, out, err)

    def mpirun(self, ranks, argv):
        """The command for so many ranks, with the settings of the launch scripts; mpirun is that of the folder `pack`
        has made, if it is one."""
        packed = os.path.abspath(os.path.join(self.build, "bin", "mpirun"))
        mpirun = packed if os.access(packed, os.X_OK) else shutil.which("mpirun")
        if mpirun is None:
            raise Skipped("mpirun is not there: Open MPI starts the ranks")
        line = f". {shlex.quote(os.path.join(SOURCE, 'launch', 'mpi-environment'))}; "
        if mpirun == packed:
            root = os.path.dirname(os.path.dirname(packed))
            places = {"OPAL_PREFIX": root, "OPAL_BINDIR": f"{root}/bin", "OPAL_LIBDIR": f"{root}/lib",
                      "OPAL_PKGLIBDIR": f"{root}/lib/openmpi", "OPAL_PKGDATADIR": f"{root}/share/openmpi",
                      "OPAL_SYSCONFDIR": f"{root}/etc", "PMIX_INSTALL_PREFIX": root, "PMIX_PKGLIBDIR": f"{root}/lib/pmix",
                      "PMIX_LIBDIR": f"{root}/lib"}
            line += "".join(f"export {name}={shlex.quote(place)}; " for name, place in places.items())
        return ["sh", "-c", f"{line}exec {shlex.quote(mpirun)} -np {ranks} --bind-to none {shlex.join(argv)}"]

    # -- Figures, for a later call with the same folder too --------------------------------------

    def save(self, name, value):
        with open(self.path(name + ".json"), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)

    def saved(self, name):
        try:
            with open(self.path(name + ".json"), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    @functools.cached_property
    def torch(self):
        """A Python with PyTorch that has a GPU; raises Skipped."""
        python = shutil.which(self.options.python)
        if python is None:
            raise Skipped(f"{self.options.python} is not there (--python names another)")
        ended = self._run([python, "-c", "import torch; print(torch.cuda.is_available(), torch.__version__)"], 60)
        if ended.code != 0:
            raise Skipped(f"{python} has no PyTorch: {ended.last_line()}")
        if not ended.out.startswith("True"):
            raise Skipped(f"the PyTorch of {python}, {ended.out.split()[-1]}, has no GPU")
        return python
