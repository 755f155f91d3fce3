"""The comparison of two builds finds equal bits equal, and a single digit that is not."""
import os
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(FOLDER, "..", "support"))
import test_report  # noqa: E402


def compare(*arguments):
    done = subprocess.run([sys.executable, os.path.join(FOLDER, "compare"), *arguments],
                          capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout + done.stderr


def main():
    program = sys.argv[1]
    few = ["--only", "groups-on-two", "--processes", "1,2"]
    with tempfile.TemporaryDirectory() as folder:
        table, other = os.path.join(folder, "table"), os.path.join(folder, "other")
        code, text = compare(program, *few)
        assert code == 0, text
        lines = [line.split() for line in text.splitlines()]
        assert [line[:2] for line in lines] == [["groups-on-two", "1"], ["groups-on-two", "2"]], text
        assert all(len(digest) == 32 for line in lines for digest in line[2:]), text
        assert lines[0][2:] == lines[1][2:], text
        with open(table, "w") as file:
            file.write(text)
        # Another digit in one line.
        last = text[:-2] + ("0" if text[-2] != "0" else "1") + "\n"
        with open(other, "w") as file:
            file.write(last)
        code, said = compare(table, program, *few)
        assert code == 0 and "2 equal, 0 different" in said, said
        code, said = compare(other, table, *few)
        assert code == 1 and "1 equal, 1 different" in said and "DIFFERENT" in said, said
        code, said = compare(table, table, "--only", "no such run file")
        assert code == 2 and "nothing was compared" in said, said
        code, said = compare(table, "/bin/false", *few)
        assert code == 2 and "ended with" in said, said
    print("ok")
    test_report.end(5)


if __name__ == "__main__":
    main()
