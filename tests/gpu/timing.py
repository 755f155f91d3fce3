"""Parts about speed: kernels against a copy, training steps, the same in PyTorch."""
import json
import os

from harness import SOURCE, Failed, Part, TooLong, table

COPY_TARGET = 0.85


def kernels(context):
    figures = os.path.abspath(context.path("kernels.json"))
    argv = [context.program("gpu_kernels_bench"), "--json", figures]
    if context.small:
        argv += ["--kib", "64", "--channels", "64", "--sets", "2", "--rounds", "1", "--milliseconds", "0"]
    ended = context.command(argv)
    if ended.code != 0:
        raise Failed(ended.last_line())
    rows = context.saved("kernels")["kernels"]
    # One line a kernel: the worst of all sizes.
    worst = {}
    for row in rows:
        key = (row["kernel"], row["precision"])
        if key not in worst or row["of_copy"] < worst[key]["of_copy"]:
            worst[key] = row
    print(table([("KERNEL", "PRECISION", "OF A COPY", "WHERE IT IS SLOWEST")] +
                [(kernel, precision, f"{row['of_copy']:.3f}",
                  f"x of {row['kib'] / 1024:g} MiB, {row['channels']} channels, {row['gigabytes_per_second']:.0f} GB/s")
                 for (kernel, precision), row in worst.items()]))
    copy = max(row["copy_gigabytes_per_second"] for row in rows)
    slow = [row for row in rows if row["of_copy"] < COPY_TARGET]
    text = f"a copy moves {copy:.0f} GB/s; {len(rows) - len(slow)} of {len(rows)} cases reach {COPY_TARGET} of it"
    if slow and not context.small:
        row = min(slow, key=lambda one: one["of_copy"])
        raise Failed(f"{text}; slowest: {row['kernel']}, {row['precision']}, {row['channels']} channels: {row['of_copy']:.2f}")
    return text


def cases(context):
    """What is timed: architecture, side, classes, batch, precision."""
    if context.small:
        return [("resnet20", 16, 10, 2, precision) for precision in ("float32", "bf16")]
    sizes = [("resnet50", 224, 1000, 128), ("resnet18", 32, 10, 512)]
    return [(*size, precision) for precision in ("bf16", "tf32", "float32") for size in sizes]


def label(row):
    return f"{row['architecture']} {row['side']}x{row['side']}, batch {row['batch']}, {row['precision']}"


def arguments(case):
    names = ("--architecture", "--side", "--classes", "--batch", "--precision")
    return [word for name, value in zip(names, case) for word in (name, str(value))]


def measure(context, file, argv_of, chosen):
    """Runs a program that prints a JSON object for each case; keeps them in `file`. The rows and what was left out."""
    rows, left_out = [], []
    for case in chosen:
        try:
            ended = context.command(argv_of(case))
        except TooLong:
            left_out.append(case)
            continue
        if ended.code != 0:
            raise Failed(f"{' '.join(map(str, case))}: {ended.last_line()}")
        rows.append(json.loads(ended.out.strip().splitlines()[-1]))
        print(f"{label(rows[-1])}: {rows[-1]['median_ms']:.2f} ms", flush=True)
        context.save(file, rows)
    if not rows:
        raise Failed(f"none of {len(chosen)} cases was over within {context.part.limit} s")
    return rows, f"; no time for {', '.join(f'{case[0]} in {case[4]}' for case in left_out)}" if left_out else ""


def steps(context):
    program = context.program("gpu_step_bench")
    count = ["--steps", "2", "--warm-up", "1"] if context.small else ["--steps", "30", "--warm-up", "10"]
    rows, missing = measure(context, "steps", lambda case: [program, *arguments(case), *count], cases(context))
    text = ", ".join(f"{row['architecture']} {row['precision']} {row['median_ms']:.2f} ms "
                     f"({row['images_per_second']:.0f} images/s)" for row in rows)
    return text + missing


def torch_steps(context, compiled):
    script = os.path.join(SOURCE, "tests", "gpu", "torch_steps.py")
    chosen = [case for case in cases(context) if not compiled or case[4] == "bf16"]
    count = ["--steps", "30", "--warm-up", "10"] + (["--compile"] if compiled else [])
    rows, missing = measure(context, "torch-compiled" if compiled else "torch-eager",
                            lambda case: [context.torch, script, *arguments(case), *count], chosen)
    ours = {label(row): row for row in context.saved("steps") or []}
    ratios = {label(row): ours[label(row)]["median_ms"] / row["median_ms"] for row in rows if label(row) in ours}
    if not ratios:
        return ", ".join(f"{label(row)} {row['median_ms']:.2f} ms" for row in rows) + missing + "; nothing to compare with"
    text = "a step of ours takes, over PyTorch's: " + ", ".join(f"{ratio:.2f} ({name})" for name, ratio in ratios.items())
    slow = [name for name, ratio in ratios.items() if ratio > 1 and name.startswith("resnet50") and name.endswith("bf16")]
    if compiled and slow:
        raise Failed(text + missing)
    return text + missing


def comparison(context):
    """All that was measured of steps, side by side; empty where there is nothing."""
    columns = {name: {label(row): row["median_ms"] for row in context.saved(name) or []}
               for name in ("steps", "torch-eager", "torch-compiled")}
    cases_seen = list(dict.fromkeys(name for column in columns.values() for name in column))
    if not cases_seen:
        return ""
    text = lambda column, name: f"{columns[column][name]:.2f} ms" if name in columns[column] else "-"
    return table([("STEP", "SYNCBN", "PYTORCH", "COMPILED")] +
                 [(name, text("steps", name), text("torch-eager", name), text("torch-compiled", name)) for name in cases_seen])


PARTS = [
    Part("kernels", 120, "kernels over 64 MiB and more against a copy", kernels),
    Part("steps", 120, "training steps of ResNet-50 and ResNet-18 in bf16, TF32 and float32", steps),
    Part("torch-eager", 120, "the same steps in PyTorch", lambda context: torch_steps(context, False)),
    Part("torch-compiled", 120, "those in bf16 in PyTorch, compiled", lambda context: torch_steps(context, True)),
]
