"""A machine within the machine: namespaces whose processes and mounts end with the test, however it ends."""
import ctypes
import glob
import os
import signal
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWNET = 0x40000000

# --kill-child: the kernel ends the first process of the sandbox with unshare, and with the first all others;
# with the last of them go the mounts.
UNSHARE = ["unshare", "--mount", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
# The first process reaps what others leave. What is kept outside of a test's own folder is forgotten with the sandbox,
# and the cgroups are those of a machine that has the second kind alone.
FIRST = """
names=$(cat /etc/resolv.conf)
mkdir -p /var/lib/containers
for folder in /run /dev/shm /var/lib/containers; do mount -t tmpfs none $folder || exit; done
mount -t cgroup2 none /sys/fs/cgroup || exit
if [[ ! -e /etc/resolv.conf ]]; then  # it was in /run
  file=$(readlink -m /etc/resolv.conf)
  mkdir -p "${file%/*}"
  echo "$names" >"$file"
fi
"$@"
exit
"""


def _command(*words):
    return [*UNSHARE, "bash", "-c", FIRST, "bash", *words]


def why_not():
    """Why there can be no sandbox here, or nothing."""
    tried = subprocess.run(_command("true"), capture_output=True, text=True)
    return "" if tried.returncode == 0 else "the kernel permits no namespaces or mounts: " + tried.stderr.strip()


class Sandbox:
    """Runs a command in a sandbox; at the end of the `with`, or of this process, nothing of it is there."""

    def __init__(self, command):
        self.command = command

    def __enter__(self):
        # Whoever is left when unshare has ended is a child of this process.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.process = subprocess.Popen(
            _command(*self.command), start_new_session=True,
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        return self.process

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        try:
            while True:  # the first process of the sandbox has ended when all others have
                os.waitpid(-1, 0)
        except ChildProcessError:
            pass


def enter_network():
    """From here on this process has a network of its own, with no way out of it."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def left_of(folder):
    """Processes that name the folder in their command line, and mounts below it."""
    left = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if folder in words and int(path.split("/")[2]) != os.getpid():
            left.append(words)
    with open("/proc/self/mountinfo") as file:
        left += [line.split()[4] for line in file if folder in line.split()[4]]
    return left
