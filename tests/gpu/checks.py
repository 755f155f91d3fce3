"""Parts about right results: conformance to the reference, and what NVIDIA's sanitizer finds."""
import glob
import re
import shutil

from harness import Failed, Part, Skipped

# Kernels that share memory between threads or reach beyond whole vectors, in cases of few elements.
SANITIZED = ("*Moments*:*Normal*:*Whiten*:*Pool*:*Linear*:*Update*:*Loss*:*Views*:-*Large*:*Accura*")


def counts(ended):
    """(passed, failed, skipped) as GoogleTest's last lines have it."""
    found = [re.search(rf"^\[  {word} *\] (\d+) test", ended.out, re.MULTILINE) for word in ("PASSED", "FAILED", "SKIPPED")]
    return [int(match[1]) if match else 0 for match in found]


def conformance(context):
    argv = [context.program("gpu_conformance_test"), "--gtest_brief=1"]
    if context.small:
        argv.append("--gtest_filter=*Elementwise*")
    ended = context.command(argv)
    passed, failed, skipped = counts(ended)
    if ended.code == 77:
        raise Skipped(re.search(r"no GPU.*", ended.out)[0])
    if ended.code != 0 or failed > 0:
        names = sorted(set(re.findall(r"^\[  FAILED  \] (\w[\w/]*\.[\w./]+)", ended.out, re.MULTILINE)))
        raise Failed(f"{failed} of {passed + failed} tests: {', '.join(names[:8]) or ended.last_line()}")
    if passed == 0:
        raise Failed("no test was found")
    return f"{passed} tests agree with the reference, in float32 and bf16" + (f"; {skipped} skipped" if skipped else "")


def sanitizer_program():
    found = shutil.which("compute-sanitizer")
    others = glob.glob("/usr/local/cuda/bin/compute-sanitizer") + sorted(
        glob.glob("/opt/nvidia/*/*/compute-sanitizer") + glob.glob("/usr/local/cuda*/compute-sanitizer/compute-sanitizer"))
    if found is None and not others:
        raise Skipped("compute-sanitizer is not there: it comes with the CUDA toolkit")
    return found or others[0]


def sanitizer(context):
    sanitizer = sanitizer_program()
    program = context.program("gpu_conformance_test")
    clean = []
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        if context.left() < 10:
            break
        ended = context.command([sanitizer, "--tool", tool, "--error-exitcode", "9", program, "--gtest_brief=1",
                                 f"--gtest_filter={SANITIZED}"])
        said = ended.out + ended.err
        if "Device not supported" in said or "failed to initialize" in said.lower():
            raise Skipped(f"compute-sanitizer cannot watch this machine's GPU: {ended.last_line()}")
        if ended.code != 0:
            errors = re.search(r"ERROR SUMMARY: (.*)", said)
            raise Failed(f"{tool}: {errors[1] if errors else ended.last_line()}")
        clean.append(tool)
    missing = 4 - len(clean)
    return f"nothing found by {', '.join(clean)}" + (f"; no time for {missing} more" if missing else "")


PARTS = [
    Part("conformance", 120, "every operation against the reference, on the GPU", conformance),
    Part("sanitizer", 120, "some of that under compute-sanitizer", sanitizer),
]
