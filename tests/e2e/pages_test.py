"""The pages that explain: every block of shell commands in them runs as it stands there, made smaller where it
would take hours; what this machine has not (a Docker engine, a cluster) is a stand-in that looks at what it is told.
A block that is not listed here is a failure, and so are links that lead nowhere and options that no command has.

pages_test.py PROGRAM SOURCE [PAGE ...]    77 where what all of it needs is missing
"""
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import test_report  # noqa: E402
from page_blocks import BLOCKS, ONLY_LOOKED_AT  # noqa: E402

PATIENCE = 240
# Written by commands, and of others' making.
NOT_PAGES = ("configs/reports/", "build", "data/", "runs/", "studies/")


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def expect(true, words):
    if not true:
        raise Failed(words)


# -- Pages ----------------------------------------------------------------------------------------


def pages(source):
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = [one for one in folders if not one.startswith(".")
                      and not os.path.relpath(os.path.join(folder, one), source).startswith(NOT_PAGES)]
        found += [os.path.relpath(os.path.join(folder, name), source) for name in names if name.endswith(".md")]
    return sorted(page for page in found if not page.startswith(NOT_PAGES))


def shell_blocks(text):
    """(heading, number below that heading, commands) of each."""
    blocks, heading, counts = [], "", {}
    lines = iter(text.split("\n"))
    for line in lines:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.strip().startswith("```"):
            indent, kind, body = len(line) - len(line.lstrip()), line.strip()[3:], []
            for inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner[indent:])
            if kind == "sh":
                counts[heading] = counts.get(heading, 0) + 1
                blocks.append((heading, counts[heading], "\n".join(body) + "\n"))
    return blocks


def anchors(text):
    return {re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.split("\n") if line.startswith("#")}


def broken_links(source, page, text):
    text = re.sub(r"(?s)```.*?```", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(source, os.path.dirname(page), path)) if path else os.path.join(source, page)
        if not os.path.exists(full):
            yield f"{page}: there is no {target}"
        elif anchor and anchor not in anchors(open(full).read()):
            yield f"{page}: {target} has no such heading"


# -- Commands in the text ---------------------------------------------------------------------------


class Helps:
    """What `syncbn ... --help` says, asked once."""

    def __init__(self, program):
        self.program, self.texts = program, {}

    def of(self, words):
        if words not in self.texts:
            result = subprocess.run([self.program, *words, "--help"], capture_output=True, text=True, timeout=PATIENCE)
            self.texts[words] = result.stdout if result.returncode == 0 else None
        return self.texts[words]


def unknown_options(helps, page, text):
    """Of the commands in `code` and in blocks: a subcommand that is not there, an option that it has not."""
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"(?s)```.*?```", "", text)) + \
            [line for _, _, block in shell_blocks(text) for line in block.replace("\\\n", " ").split("\n")]:
        for command in re.findall(r"(?:^|[\s/(])syncbn ((?:[a-z][a-z-]*)(?: [^|&;#]*)?)", span):
            words = command.replace("\\", " ").split()
            if any(word in ("-np", "-f") for word in words[:1]) or words[0] in ONLY_LOOKED_AT:
                continue
            path = (words[0],)
            if len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]) and helps.of((words[0], words[1])) is not None \
                    and words[0] in ("study", "hosts", "token"):
                path = (words[0], words[1])
            said = helps.of(path)
            if said is None:
                yield f"{page}: `{span}`: there is no command syncbn {words[0]}"
                continue
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", command):
                if not re.search(re.escape(option) + r"(?![\w-])", said):
                    yield f"{page}: `{span}`: syncbn {' '.join(path)} has no {option}"


# -- A place where blocks run ------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tree:
    """What a checkout with a build looks like, of links; its launch folder is a copy whose `build` and `test` do
    not build and test, but write down how they were called."""

    def __init__(self, program, source, folder):
        self.root, self.bin, self.calls = folder, os.path.join(folder, "bin"), os.path.join(folder, "calls")
        for name in ("build/bin", "bin", "data"):
            os.makedirs(os.path.join(folder, name))
        shutil.copytree(os.path.join(source, "launch"), os.path.join(folder, "launch"))
        for name in ("configs", "proto", "src", "docker", "tests", "CMakeLists.txt"):
            os.symlink(os.path.join(source, name), os.path.join(folder, name))
        built = os.path.dirname(os.path.abspath(program))
        for name in os.listdir(built):
            os.symlink(os.path.join(built, name), os.path.join(folder, "build/bin", name))
        os.symlink(os.path.abspath(program), os.path.join(self.bin, "syncbn"))
        for name in ("build", "test"):
            self.stand_in(os.path.join("launch", name))
        self.environment = dict(os.environ, PATH=self.bin + ":" + os.environ["PATH"], TREE=folder,
                                SYNCBN_SERVER=f"127.0.0.1:{free_port()}")
        self.environment.pop("SYNCBN_USER_TOKEN", None)
        real = os.environ.get("SYNCBN_TEST_DATA")
        self.has_data = bool(real)
        if real:
            for name in ("mnist", "cifar-10-batches-bin"):
                os.symlink(os.path.join(real, name), os.path.join(folder, "data", name))

    def stand_in(self, path, body=""):
        """A program that writes down its words; of a path it is given below the tree, that it is there."""
        path = os.path.join(self.root, path)
        with open(path, "w") as file:
            file.write("#!/bin/bash\necho \"${0##*/} $*\" >> " + self.calls + "\n" + body)
        os.chmod(path, 0o755)

    def called(self):
        return open(self.calls).read() if os.path.exists(self.calls) else ""


def has_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def run_block(program, source, commands, block):
    if block.needs_data and not os.environ.get("SYNCBN_TEST_DATA"):
        raise Skipped("SYNCBN_TEST_DATA names no folder with real data")
    for tool in block.tools:
        if not shutil.which(tool):
            raise Skipped(f"{tool} is not installed")
    for module in block.modules:
        if not has_module(module):
            raise Skipped(f"Python has no {module}")
    for old, new in block.changes:
        expect(old in commands, f"its change of '{old}' changes nothing any more")
        commands = commands.replace(old, new)
    # Short, for the paths of unix sockets; what was started in it goes with its process group.
    folder = tempfile.mkdtemp(prefix="syncbn-page-")
    try:
        tree = Tree(program, source, folder)
        for name, body in block.stand_ins.items():
            tree.stand_in(name if "/" in name else os.path.join("bin", name), body)
        text = "\n".join(["set -e", block.before, commands, block.after])
        with open(os.path.join(folder, "output"), "w+") as output:
            # Debian's plain shell: a newcomer's need not be bash.
            shell = subprocess.Popen(["dash", "-c", text], cwd=folder, env=tree.environment, stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                code = shell.wait(timeout=block.seconds)
            except subprocess.TimeoutExpired:
                code = f"nothing after {block.seconds} s"
            finally:
                end_group(shell)
            output.seek(0)
            said = output.read() + tree.called()
        expect(code == 0, f"ended with {code}:\n{commands}\n{said[-4000:]}")
        for words in block.says:
            expect(words in said, f"does not say '{words}':\n{said[-4000:]}")
        for name in block.leaves:
            expect(os.path.exists(os.path.join(folder, name)), f"leaves no {name}:\n{said[-4000:]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_group(shell):
    """First as a person at the terminal would: mpirun and the coordinator clear up behind themselves."""
    for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        deadline = time.monotonic() + seconds
        try:
            os.killpg(shell.pid, number)
            while time.monotonic() < deadline:
                shell.poll()
                os.killpg(shell.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


# -- All of it ----------------------------------------------------------------------------------------


def main():
    program, source = sys.argv[1], os.path.abspath(sys.argv[2])
    chosen, passed, failed, skipped = sys.argv[3:], 0, 0, []

    def check(name, work):
        nonlocal passed, failed
        begin = time.monotonic()
        try:
            work()
            passed += 1
            print(f"ok: {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Skipped as reason:
            skipped.append(f"{name}: {reason}")
            print(f"skipped: {name}: {reason}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED: {name}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc()

    helps, seen = Helps(program), set()
    for page in pages(source):
        text = open(os.path.join(source, page)).read()

        def words_hold():
            wrong = list(broken_links(source, page, text)) + list(unknown_options(helps, page, text))
            expect(not wrong, "\n  ".join([""] + wrong))

        if chosen and page not in chosen:
            continue
        check(f"{page}: links and options", words_hold)
        for heading, number, commands in shell_blocks(text):
            key = (page, heading, number)
            seen.add(key)
            check(": ".join([page, heading, str(number)]),
                  lambda: (expect(key in BLOCKS, "is not listed in page_blocks.py: say how it is run"),
                           run_block(program, source, commands, BLOCKS[key])))

    def none_is_gone():
        gone = set(BLOCKS) - seen
        expect(not gone, f"listed, but in no page: {sorted(gone)}")

    if not chosen:
        check("what is listed is there", none_is_gone)
    test_report.end(passed, failed, skipped)


if __name__ == "__main__":
    main()
