"""Parts that train with the program itself: bits, precisions, accuracy."""
import json
import math
import os
import shutil

from harness import SOURCE, Failed, Part, Skipped

# Of uneven replicas, with statistics over all of them.
SHAPES = """\
data: {{dataset: shapes, shapes: {{train_samples: {samples}, test_samples: 16}}}}
model: {{architecture: resnet20, width: {width}, norm: {{batch: {norm_batch}}}}}
cluster: {{replicas: {replicas}, batch_per_replica: {batch}}}
precision: {precision}
train: {{epochs: 1000, max_steps: {steps}, optimizer: {{momentum: 0.9}}, learning_rate: 0.05}}
"""


def run_file(context, name, **settings):
    path = context.path(name + ".yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SHAPES.format(**settings))
    return path


def train(context, name, ranks, arguments, environment=None):
    """The summary of a run in OUT/NAME."""
    out = context.path(name)
    shutil.rmtree(out, ignore_errors=True)
    program = context.program("syncbn-cuda")
    argv = [program, "train", *arguments, "--out", out, "--no-checkpoints"]
    ended = context.command(argv if ranks == 1 else context.mpirun(ranks, argv), environment)
    if ended.code != 0:
        raise Failed(f"{name}: {ended.last_line()}")
    with open(os.path.join(out, "summary.json"), encoding="utf-8") as file:
        return json.load(file), ended


def one_gpu():
    """The first GPU alone: all ranks share it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[0] if visible else "0"}


def same_bits(context, exchange, more=None):
    environment = {**one_gpu(), **(more or {})}
    equal = []
    for replicas in (2, 4):
        for precision in ("float32",) if context.small else ("float32", "bf16"):
            size = (dict(samples=64, width=0.25, batch=[3, 2, 4, 1][:replicas], steps=2) if context.small else
                    dict(samples=4096, width=1, batch=[33, 32, 40, 7][:replicas], steps=20))
            file = run_file(context, f"bits-{replicas}-{precision}", norm_batch="global", replicas=replicas,
                            precision=precision, **size)
            digests = {}
            for ranks in (1, replicas):
                arguments = [file, "--backend", "cuda", "--no-evaluation"]
                if ranks > 1:
                    arguments += ["--exchange", exchange]
                summary, ended = train(context, f"bits-{replicas}-{precision}-{ranks}-{exchange}", ranks, arguments, environment)
                wanted = "NCCL" if exchange == "nccl" else "staged"
                if ranks > 1 and wanted not in ended.out:
                    raise Failed(f"{ranks} ranks did not exchange as asked ({wanted})")
                digests[ranks] = summary["digest"]
            if len(set(digests.values())) != 1:
                raise Failed(f"{replicas} ranks on one GPU and one rank with {replicas} replicas differ in {precision}: "
                             f"{digests[replicas]} and {digests[1]}")
            equal.append(f"{replicas} in {precision}")
    return f"ranks on one GPU end in the bits of one rank with as many replicas: {', '.join(equal)}"


def digests(context):
    return same_bits(context, "mpi")


def digests_nccl(context):
    version = context.version("NCCL")
    if version < (2, 30):
        raise Skipped(f"several ranks on one GPU need NCCL 2.30; this is {'.'.join(map(str, version)) or 'none'}")
    return same_bits(context, "nccl", {"NCCL_MULTI_RANK_GPU_ENABLE": "1"})


def precision(context):
    losses = {}
    for name in ("float32", "tf32", "bf16"):
        size = (dict(samples=32, width=0.25, batch=4, steps=2) if context.small else
                dict(samples=8192, width=1, batch=64, steps=400))
        file = run_file(context, f"precision-{name}", norm_batch="global", replicas=2, precision=name, **size)
        summary, _ = train(context, f"precision-{name}", 1, [file, "--backend", "cuda", "--no-evaluation"])
        losses[name] = (summary["train"]["loss"], summary["digest"])
    text = ", ".join(f"{name} {loss:.4f}" for name, (loss, _) in losses.items())
    if not all(math.isfinite(loss) for loss, _ in losses.values()):
        raise Failed(f"losses at the end: {text}")
    if len({digest for _, digest in losses.values()}) != 3:
        raise Failed("two precisions end in the same bits: one of them is not what it says")
    learned = math.log(10) - losses["float32"][0]
    far = [name for name, (loss, _) in losses.items() if abs(loss - losses["float32"][0]) > 0.1 * learned]
    if not context.small and (learned < 0.5 or far):
        raise Failed(f"losses at the end: {text}: {'float32 has not learned' if learned < 0.5 else 'too far: ' + ', '.join(far)}")
    return f"losses at the end: {text}"


def accuracy(context):
    """The run file cut to so many epochs, on the GPU and on the CPU of this machine."""
    data = os.path.join(context.options.data or "", "cifar-10-batches-bin")
    if not os.path.isdir(data):
        raise Skipped("there is no folder cifar-10-batches-bin: launch/get-data cifar10 DIR gets it, --data DIR names it")
    file = os.path.join(SOURCE, "configs", "resnet20-cifar10.yaml")
    found = {}
    for name, arguments in (("cuda", ["--backend", "cuda"]), ("bf16", ["--backend", "cuda", "--set", "precision=bf16"]),
                            ("cpu", ["--backend", "cpu"])):
        sets = [f"data.path={data}", f"train.epochs={context.options.epochs}"]
        if context.small:
            sets += ["train.max_steps=1", "data.test_limit=8", "cluster.batch_per_replica=1", "model.norm.batch=2",
                     "model.width=0.25", "data.train_limit=64"]
        options = [word for one in sets for word in ("--set", one)]
        summary, _ = train(context, f"accuracy-{name}", 1, [file, *arguments, *options])
        found[name] = summary["test"]["running"]["accuracy"]
    text = f"after {context.options.epochs} epochs: " + ", ".join(f"{name} {100 * value:.2f} %" for name, value in found.items())
    # Two seeds of such a run lie up to some points apart; other roundings are another seed.
    if not context.small and max(found["cpu"] - found["cuda"], found["cpu"] - found["bf16"]) > 0.03:
        raise Failed(text)
    return text


PARTS = [
    Part("digests", 120, "2 and 4 ranks on one GPU, staged, against one rank with as many replicas", digests),
    Part("digests-nccl", 120, "the same over NCCL (2.30 and later)", digests_nccl),
    Part("precision", 120, "a run in float32, TF32 and bf16", precision),
    Part("accuracy", 900, "ResNet-20 on CIFAR-10 to the CPU's accuracy; only when it is named", accuracy, by_default=False),
]
