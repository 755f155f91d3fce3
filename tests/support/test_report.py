"""Tells launch/test how a test in Python ended, as test_report.cc does for those in C++."""
import os
import sys

SKIPPED = 77  # CTest's SKIP_RETURN_CODE


def _program():
    return os.path.splitext(os.path.basename(sys.argv[0]))[0]


def _write(text):
    path = os.environ.get("SYNCBN_TEST_RESULTS")
    if path:
        with open(path, "a") as file:  # one write to its end, whoever else writes there
            file.write(text)


def skip(reason):
    """Ends the program: nothing of it can be tested here."""
    print("skipped: " + reason)
    _write(f"skipped: {_program()}: {reason}\n{_program()} 0 0 1\n")
    sys.exit(SKIPPED)


def end(passed, failed=0, skipped=()):
    """Ends the program with the number of its checks, and what was skipped of it and why."""
    _write("".join(f"skipped: {_program()}: {reason}\n" for reason in skipped) +
           f"{_program()} {passed} {failed} {len(skipped)}\n")
    sys.exit(1 if failed or not passed else 0)
