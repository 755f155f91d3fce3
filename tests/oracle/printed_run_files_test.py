"""`syncbn check --print` is read by others: PyYAML, which follows YAML 1.1, must find the same values.

Usage: printed_run_files_test.py SYNCBN CONFIGS_FOLDER
"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import test_report  # noqa: E402

try:
    import yaml
except ImportError as error:
    test_report.skip(f"{error}; install what launch/packages-test.txt lists")

# Numbers, texts and lists that readers disagree about, beside the run files of the repository.
ODD = {
    "data": {"dataset": "idx", "path": "/a: b #c"},
    "model": {"architecture": "vgg11", "width": 1e-3, "dropout": 1.5e-7,
              "norm": {"epsilon": 1e-12, "batch": 3}},
    "seed": 18446744073709551615,
    "name": "yes",
    "train": {"epochs": 123456.0, "clip_norm": 1e22,
              "optimizer": {"kind": "adamw", "epsilon": 1e-8, "weight_decay": 5e-4},
              "learning_rate": {"base": 1e-10, "schedule": "step", "milestones": [1e-1, 1e3]}},
}
TEXTS = ["=", "<<", "1:30", "0o17", "010", "1e5", "1.0e+5", "no", "Off", "y", "null", "2026-11-28",
         ".inf", "1_000", "0x1F", "a\u00a0b", "a\u2028b", "a\x85b", "\u3000", "d\u00e9"]


def printed(program, run_file):
    done = subprocess.run([program, "check", run_file, "--print"], capture_output=True, timeout=60)
    assert done.returncode == 0, (run_file, done.stderr.decode())
    return done.stdout.decode()


def without_origins(text):
    return re.sub(r"  +# .*$", "", text, flags=re.M)


def kinds(text):
    """The value of each line `key: value`, as PyYAML reads it alone, must be of the kind it looks."""
    count = 0
    for line in without_origins(text).splitlines():
        match = re.fullmatch(r"[ -]*\w+: (\S.*)", line)
        if match is None or match[1][0] in "[{":
            continue
        value = yaml.safe_load("v: " + match[1])["v"]
        if re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?", match[1]):
            assert isinstance(value, (int, float)), f"{line!r} is read as {value!r}"
        elif match[1] in ("true", "false"):
            assert isinstance(value, bool), f"{line!r} is read as {value!r}"
        else:
            assert isinstance(value, str), f"{line!r} is read as {value!r}"
        count += 1
    return count


def read_by_pyyaml(program, run_file):
    text = printed(program, run_file)
    assert kinds(text) > 10, text
    return text, yaml.safe_load(text)


def check(program, run_file, folder):
    text, spec = read_by_pyyaml(program, run_file)
    # What PyYAML has read and writes is the same run file.
    again = os.path.join(folder, "again.yaml")
    with open(again, "w") as file:
        yaml.safe_dump(spec, file)
    assert without_origins(printed(program, again)) == without_origins(text), run_file
    return spec


def main():
    program, configs = sys.argv[1:]
    run_files = sorted(glob.glob(os.path.join(configs, "*.yaml")))
    assert len(run_files) >= 7, configs
    with tempfile.TemporaryDirectory() as folder:
        for run_file in run_files:
            check(program, run_file, folder)
            print("ok", os.path.basename(run_file))
        odd = os.path.join(folder, "odd.yaml")
        with open(odd, "w") as file:
            yaml.safe_dump(ODD, file)
        spec = check(program, odd, folder)
        assert spec["train"]["clip_norm"] == 1e22 and spec["model"]["norm"]["epsilon"] == 1e-12
        for path in TEXTS:
            # PyYAML writes 1e5 without quotation marks, which syncbn refuses as a text.
            data = f"data: {{dataset: idx, path: {json.dumps(path)}}}"
            with open(odd, "w") as file:
                file.write(yaml.safe_dump({**ODD, "data": {}}).replace("data: {}", data))
            spec = read_by_pyyaml(program, odd)[1]
            assert spec["data"]["path"] == path, f"{path!r} became {spec['data']['path']!r}"
        print("ok", len(TEXTS), "odd texts")
    test_report.end(len(run_files) + 1 + len(TEXTS))


if __name__ == "__main__":
    main()
