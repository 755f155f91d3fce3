"""The image is built from docker/Dockerfile and run, by podman, from Debian's packages alone: as one container, as a
coordinator with its HEALTHCHECK, and as docker/compose.yaml starts it.

Usage: image_test.py SOURCE [CUDA]

CUDA: a folder that launch/get-cuda has made; then it is the image with what trains on GPUs.

The base image is made here, as there may be no registry. What the release build has compiled is taken from ccache's
folder, where there is one: the image's own build asks for the same objects. Without them it takes long, no more.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import sandbox  # noqa: E402
import test_report  # noqa: E402

try:
    import yaml
except ImportError as error:
    test_report.skip(f"{error}; install what launch/packages-test.txt lists")

TOOLS = ["podman", "podman-compose", "crun", "mmdebstrap", "unshare", "ip", "iptables"]
PATIENCE = 300  # of one command in a container, on a machine that may be busy
BUILD_PATIENCE = 3000
RELEASE = "bookworm"
RUN_FILE = "/usr/local/share/syncbn/configs/shapes-demo.yaml"
SMALL = ["--set", "train.epochs=1", "--set", "data.shapes.train_samples=256",
         "--set", "data.shapes.test_samples=64"]


class Failed(Exception):
    pass


def run(*command, patience=PATIENCE, **more):
    """What a command has printed; that it fails is a failure that shows the end of it."""
    begin = time.monotonic()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL, timeout=patience, **more)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"`{' '.join(command)}` has not ended within {patience} s:\n"
                     f"{(error.output or b'').decode(errors='replace')[-6000:]}")
    if done.returncode != 0:
        raise Failed(f"`{' '.join(command)}` has ended with {done.returncode}:\n{done.stdout[-6000:]}")
    print(f"  {time.monotonic() - begin:5.1f} s  {' '.join(command)[:100]}", flush=True)
    return done.stdout


def expect(true, words):
    if not true:
        raise Failed(words)


# The base image, from where this machine has its own packages.


def package_sources():
    """Lines of sources.list of the release."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
         "Identifier: Packages"], capture_output=True, text=True).stdout
    lines = []
    for target in targets.splitlines():
        uri, release, component, *origin = target.split()
        if release.split("-")[0] == RELEASE and component == "main" and origin in ([], ["Debian"]):
            lines.append(f"deb {uri} {release} main")
    return sorted(set(lines), key=lambda line: (len(line.split()[2]), line))


def package_settings():
    """How this machine reaches them: proxies, what is not checked."""
    settings = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True).stdout
    return re.findall(r'^(Acquire::(?:http|https|Check|Retries|ForceIPv)[^ ]* "[^"]+");$', settings, re.M)


def why_no_packages(folder):
    sources = package_sources()
    if not sources:
        return f"apt has no source of Debian's {RELEASE}"
    _, uri, release, _ = sources[0].split()
    tried = subprocess.run(["/usr/lib/apt/apt-helper", "download-file", f"{uri}dists/{release}/InRelease",
                            os.path.join(folder, "InRelease")], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"Debian's packages are not reached at {uri}"


def make_base(folder):
    base = os.path.join(folder, "base.tar")
    run("mmdebstrap", "--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")),
        *(f"--aptopt={setting}" for setting in package_settings()),
        RELEASE, base, *package_sources(), patience=BUILD_PATIENCE)
    run("podman", "import", base, "localhost/base")
    os.remove(base)


# What is tested. In this order: each needs what the first has made.


def ccache(*words):
    """What ccache says; nothing where it is not installed."""
    try:
        return subprocess.run(["ccache", *words], capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


def found_and_compiled():
    """Objects that ccache had and had not, so far."""
    counts = dict(re.findall(r"^(\w+)\t(\d+)$", ccache("--print-stats"), re.M))
    found = int(counts.get("direct_cache_hit", 0)) + int(counts.get("preprocessed_cache_hit", 0))
    return found, int(counts.get("cache_miss", 0))


def the_image_builds_from_its_dockerfile(folder, source, cuda):
    make_base(folder)
    objects, before = ccache("--get-config", "cache_dir"), found_and_compiled()
    # chroot: the steps have the network of this process, and cgroups are not asked for.
    run("podman", "build", "--isolation=chroot", "--pull-never", "--layers=false", "--format=docker",
        *(["-v", f"{objects}:/ccache"] if os.path.isdir(objects) else []), "--build-arg=BASE=localhost/base",
        *(["-v", f"{cuda}:/opt/nvidia:ro", "--build-arg=CUDA=1"] if cuda else []),
        f"--file={source}/docker/Dockerfile", "--tag=syncbn", source, patience=BUILD_PATIENCE)
    after = found_and_compiled()
    print(f"  objects of the release build: {after[0] - before[0]}, compiled: {after[1] - before[1]}")


def its_user_has_no_privileges_and_its_program_all_libraries():
    said = run("podman", "run", "--rm", "--network=none", "--entrypoint=bash", "syncbn", "-c",
               "id -un; id -u; grep CapEff /proc/self/status; ldd $(command -v syncbn); command -v g++ || echo none")
    expect(said.startswith("syncbn\n1000\nCapEff:\t0000000000000000\n"), said)
    expect("libmpi.so" in said and "not found" not in said and said.endswith("\nnone\n"), said)
    said = run("podman", "run", "--rm", "--network=none", "syncbn", "info")
    expect("Open MPI" in said, said)


def its_program_for_gpus_has_its_libraries_and_says_that_there_is_no_driver():
    said = run("podman", "run", "--rm", "--network=none", "syncbn", "info", "--json")
    cuda = json.loads(said)["cuda"]
    expect(cuda["program"] == "/usr/local/bin/syncbn-cuda", said)
    expect(cuda["versions"]["CUDA of the driver"] == "none" and "cuDNN" in cuda["versions"], said)
    expect("install NVIDIA's driver" in cuda["problem"], said)


def digest(processes):
    said = run("podman", "run", "--rm", "--network=none", "--entrypoint=bash", "syncbn", "-c",
               f"mpirun -np {processes} syncbn train {RUN_FILE} --out /tmp/demo {' '.join(SMALL)}"
               " && cat /tmp/demo/summary.json")
    found = re.search(r'"digest": "([^"]+)"', said)
    expect(found, said)
    return found.group(1)


def two_processes_train_under_its_mpirun_as_one_does():
    two, one = digest(2), digest(1)
    expect(two == one, f"2 processes: {two}, 1 process: {one}")


def submit(*enter):
    """A job of two processes, one a host where there are several; what the coordinator says of it at the end."""
    client = ["--token-file", "/var/lib/syncbn/admin-token"]
    run(*enter, "syncbn", "submit", RUN_FILE, "--processes", "2", "--follow", *SMALL, *client,
        *(["--per-host", "1"] if "podman-compose" in enter[0] else []))
    said = run(*enter, "syncbn", "job", "1", "--json", *client)
    page = next(json.loads(line) for line in said.splitlines() if line.startswith('{"job":'))
    expect(page["job"]["state"] == "SUCCEEDED", page)
    return page


def until_healthy(container):
    """As an engine asks: by the image's own HEALTHCHECK."""
    end = time.monotonic() + PATIENCE
    while subprocess.run(["podman", "healthcheck", "run", container], capture_output=True).returncode != 0:
        if time.monotonic() > end:
            raise Failed(f"{container} is not healthy:\n" + run("podman", "logs", container))
        time.sleep(0.2)


def expect_stops(container):
    """Asked to end, it ends by itself."""
    run("podman", "stop", f"--time={PATIENCE}", container)
    code = run("podman", "inspect", "--format={{.State.ExitCode}}", container).strip()
    if code != "0":
        raise Failed(f"{container} has ended with {code}:\n" + run("podman", "logs", container))


def its_coordinator_is_healthy_and_a_job_succeeds():
    run("podman", "run", "--detach", "--name=one", "--network=none", "syncbn")
    until_healthy("one")
    submit("podman", "exec", "one")
    expect_stops("one")
    run("podman", "rm", "one")


def the_compose_file_starts_a_coordinator_with_a_job_on_both_hosts(source):
    compose = ["podman-compose", "-f", f"{source}/docker/compose.yaml"]
    run(*compose, "up", "--no-build", "--detach")
    containers = run("podman", "ps", "--format={{.Names}}").split()
    name = {service: next((c for c in containers if re.search(f"[_-]{service}[_-]", c)), "")
            for service in ("coordinator", "worker1", "worker2")}
    expect(all(name.values()), f"running are {containers}")
    until_healthy(name["coordinator"])
    attempts = submit(*compose, "exec", "-T", "coordinator")["attempts"]
    hosts = sorted(rank["host"] for rank in attempts[-1]["ranks"])
    expect(len(attempts) == 1 and hosts == ["worker1", "worker2"], attempts)
    with open(f"{source}/docker/compose.yaml") as file:
        services = yaml.safe_load(file)["services"]
    for worker in ("worker1", "worker2"):  # podman-compose does not hand these on as they stand
        run("podman", "exec", name[worker], *services[worker]["healthcheck"]["test"][1:])
    # The port that the file publishes is this machine's.
    with urllib.request.urlopen("http://127.0.0.1:7701/readyz", timeout=PATIENCE) as answer:
        expect(answer.status == 200, answer)
    expect_stops(name["coordinator"])
    run(*compose, "down", "--volumes")


TESTS = [its_user_has_no_privileges_and_its_program_all_libraries,
         two_processes_train_under_its_mpirun_as_one_does,
         its_coordinator_is_healthy_and_a_job_succeeds,
         the_compose_file_starts_a_coordinator_with_a_job_on_both_hosts]


# Inside of the sandbox.


def configure_podman(folder):
    """All that podman keeps is in the folder; nothing is asked of systemd or of cgroups, which may not be there."""
    parts = [os.path.join(folder, "overlay", part) for part in ("lower", "upper", "work", "all")]
    for part in parts:
        os.makedirs(part, exist_ok=True)
    overlay = ["mount", "-t", "overlay", "none", parts[3], "-o", "lowerdir={},upperdir={},workdir={}".format(*parts)]
    driver = "overlay" if subprocess.run(overlay, capture_output=True).returncode == 0 else "vfs"
    files = {
        "storage.conf": f'[storage]\ndriver = "{driver}"\ngraphroot = "{folder}/images"\n'
                        f'runroot = "/run/containers"\n',
        "containers.conf": '[containers]\ncgroups = "disabled"\npids_limit = 0\nlog_driver = "k8s-file"\n'
                           '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\n'
                           f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{folder}/networks"\n'}
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    os.environ.update(CONTAINERS_STORAGE_CONF=f"{folder}/storage.conf", CONTAINERS_CONF=f"{folder}/containers.conf",
                      DISABLE_HC_SYSTEMD="true", TMPDIR=folder)


def inside(folder, source, cuda=None):
    """Runs the tests; their results go to a file in the folder."""
    configure_podman(folder)
    passed, failed = [], []

    def attempt(test, *arguments):
        print(test.__name__, flush=True)
        try:
            test(*arguments)
            passed.append(test.__name__)
        except Failed as failure:
            print(f"WRONG  {failure}", flush=True)
            failed.append(test.__name__)

    attempt(the_image_builds_from_its_dockerfile, folder, source, cuda)
    if passed:
        if cuda:
            attempt(its_program_for_gpus_has_its_libraries_and_says_that_there_is_no_driver)
        sandbox.enter_network()  # its ports are those that the files name, and nobody else's
        for test in TESTS:
            attempt(test, *([source] if test.__code__.co_argcount else []))
    with open(os.path.join(folder, "results"), "w") as file:
        json.dump([passed, failed], file)


def held(folder):
    """A container that does not end, until the test is interrupted."""
    configure_podman(folder)
    run("podman", "run", "--detach", "--network=none", "--entrypoint=sleep", "syncbn", "3600")
    open(os.path.join(folder, "held"), "w").close()
    time.sleep(3600)


# Outside of it.


def interrupted_it_leaves_nothing(folder):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        mark = os.path.join(folder, "held")
        test = subprocess.Popen([sys.executable, __file__, "--hold", folder], stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while not os.path.exists(mark):
            expect(test.poll() is None and time.monotonic() < end, "no container was started")
            time.sleep(0.1)
        os.remove(mark)
        expect(any("conmon" in left for left in sandbox.left_of(folder)), "no container runs")
        test.send_signal(number)
        test.wait()
        while sandbox.left_of(folder):
            expect(time.monotonic() < end, f"after {number.name} there are {sandbox.left_of(folder)}")
            time.sleep(0.1)


def in_sandbox(*arguments):
    with sandbox.Sandbox([sys.executable, __file__, *arguments]) as process:
        return process.wait()


def main():
    mode, arguments = sys.argv[1], sys.argv[2:]
    if mode == "--inside":
        return inside(*arguments)
    if mode == "--held":
        return held(*arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if mode == "--hold":
        return in_sandbox("--held", *arguments)

    if os.geteuid() != 0:
        test_report.skip("an image is built by root")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        test_report.skip(f"there is no {', '.join(missing)}; install what launch/packages-test.txt lists")
    reason = sandbox.why_not()
    if reason:
        test_report.skip(reason)
    with tempfile.TemporaryDirectory(prefix="syncbn-image-", ignore_cleanup_errors=True) as folder:
        reason = why_no_packages(folder)
        if reason:
            test_report.skip(reason)
        in_sandbox("--inside", folder, mode, *arguments)
        try:
            with open(os.path.join(folder, "results")) as file:
                passed, failed = json.load(file)
        except FileNotFoundError:
            sys.exit("the tests in the sandbox have ended early")
        try:
            if passed:
                expect(not sandbox.left_of(folder), f"there are {sandbox.left_of(folder)}")
                interrupted_it_leaves_nothing(folder)
            passed.append("nothing is left")
        except Failed as failure:
            print(f"WRONG  {failure}", flush=True)
            failed.append("nothing is left")
    print(json.dumps({"passed": passed, "failed": failed}))
    test_report.end(len(passed), len(failed))


if __name__ == "__main__":
    main()
