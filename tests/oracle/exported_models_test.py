"""Exported models in the programs that they are for: torchvision's models and onnxruntime say of images what
`syncbn predict` says, within 1e-5.

Usage: exported_models_test.py SYNCBN
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import test_report  # noqa: E402

try:
    import torch
    import torchvision
except ImportError as error:
    test_report.skip(f"{error}; install what launch/packages-test.txt lists")
# Not packaged by the distribution: where `pip install --target` has put it.
sys.path.append(os.environ.get("SYNCBN_TEST_PYTHON_PACKAGES", ""))
try:
    import onnxruntime
except ImportError:
    onnxruntime = None

import safetensors_file  # noqa: E402

# Of float32, 6e-8 a rounding, over some thousand terms a layer and 20 layers; of the largest logit.
TOLERANCE = 1e-5

BASE = {
    "data": {"dataset": "shapes", "shapes": {"train_samples": 32, "test_samples": 4}},
    "cluster": {"replicas": 2, "batch_per_replica": 4},
    "train": {"max_steps": 3, "optimizer": {"momentum": 0.9}, "learning_rate": {"base": 0.02}},
}


def cifar_stem(model):
    """The run's ResNets see 32 x 32 pixels: torchvision's stem is for 224."""
    model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = torch.nn.Identity()
    return model


def one_head(model):
    """The run's VGGs end in one linear layer."""
    model.avgpool = torch.nn.AdaptiveAvgPool2d(1)
    model.classifier = torch.nn.Linear(512, 10)
    return model


TORCHVISION = {
    "resnet18": lambda: cifar_stem(torchvision.models.resnet18(num_classes=10)),
    "vgg11": lambda: one_head(torchvision.models.vgg11_bn()),
}

# Layers that architectures by name do not have, each before the classifier.
BY_HAND = {
    "layers": [
        {"conv": {"out": 12, "kernel": 3, "padding": 1, "stride": 2}}, "norm", "relu",
        {"conv": {"out": 12, "kernel": 3, "padding": 1, "groups": 3}}, {"norm": {"kind": "group", "groups": 3}}, "gelu",
        {"max_pool": {"kernel": 3, "stride": 2, "padding": 1}},
        {"conv": {"out": 8, "kernel": 1}}, {"norm": {"kind": "instance"}}, "silu",
        {"residual": {"body": [{"conv": {"out": 8, "kernel": 3, "padding": 1}}, {"norm": {"kind": "layer"}}, "tanh"]}},
        {"concat": {"branches": [{"body": [{"conv": {"out": 4, "kernel": 1}}, "norm", "sigmoid"]}, {"body": []}]}},
        {"average_pool": {"kernel": 3, "stride": 2, "padding": 1}},
        {"dropout": 0.2}, "flatten", {"linear": 20}, {"norm": {"affine": False}}, "relu", {"linear": 10}],
}
MODELS = {
    "resnet18": {"architecture": "resnet18"},
    "vgg11": {"architecture": "vgg11"},
    "resnet20 behind the activation": {"architecture": "resnet20", "width": 0.5,
                                       "norm": {"placement": "after_activation"}},
    "weight norm": {"architecture": "cnn_small", "norm": "weight"},
    "no norm": {"architecture": "lenet", "norm": "none"},
    "inception": {"architecture": "inception_bn_small"},
    "by hand": BY_HAND,
}


def write_png(path, height, width, pixel):
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pixel_of(image):
    return lambda x, y: [(17 * image + 7 * x + 3 * y * (c + 1) + x * y) % 256 for c in range(3)]


class Wrong(Exception):
    pass


def syncbn(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=280)
    if done.returncode != 0:
        raise Wrong(f"syncbn {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def compare(what, ours, theirs):
    ours, theirs = ours.double(), torch.as_tensor(theirs).detach().double()
    if ours.shape != theirs.shape:
        raise Wrong(f"{what}: shape {list(theirs.shape)}, expected {list(ours.shape)}")
    off = (ours - theirs).abs().max().item()
    if not off <= TOLERANCE * max(1, ours.abs().max().item()):
        raise Wrong(f"{what}: logits are off by {off:.3g}")


def inputs(out):
    """The images as the model gets them, standardized by what the run has written down."""
    with open(os.path.join(out, "input.json")) as file:
        given = json.load(file)
    images = torch.tensor([[[pixel_of(i)(x, y) for x in range(32)] for y in range(32)] for i in range(3)])
    images = images.permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(given[name]).double().reshape(1, 3, 1, 1) for name in ("mean", "std"))
    return ((images - mean) / std).float()


def without_norms(model):
    """Identities in the place of batch norms, and biases in the convolutions before them."""
    for name, layer in list(model.named_children()):
        if isinstance(layer, torch.nn.BatchNorm2d):
            setattr(model, name, torch.nn.Identity())
        elif isinstance(layer, torch.nn.Conv2d):
            layer.bias = torch.nn.Parameter(torch.zeros(layer.out_channels))
        else:
            without_norms(layer)
    return model


def check(program, name, folder):
    """Number of comparisons."""
    out = os.path.join(folder, "run")
    run_file = os.path.join(folder, "run.json")  # JSON is YAML
    with open(run_file, "w") as file:
        json.dump({**BASE, "model": MODELS[name]}, file)
    syncbn(program, "train", run_file, "--out", out, "--quiet", "--no-evaluation")
    images = inputs(out)
    paths = []
    for i in range(len(images)):
        paths.append(os.path.join(folder, f"{i}.png"))
        write_png(paths[-1], 32, 32, pixel_of(i))
    lines = syncbn(program, "predict", out, *paths, "--format", "json", "--logits").splitlines()
    ours = torch.tensor([json.loads(line)["logits"] for line in lines])
    checks = 0
    for fold in ([], ["--fold-batchnorm"]):
        label = name + (" folded" if fold else "")
        if name in TORCHVISION:
            model = TORCHVISION[name]()
            if fold:
                model = without_norms(model)
            for kind, load in (("safetensors", lambda path: safetensors_file.read(path)[0]),
                               ("torch", lambda path: torch.load(path, weights_only=True))):
                path = os.path.join(folder, kind)
                syncbn(program, "export", out, "--format", kind, "--out", path, *fold)
                state = load(path)
                model.load_state_dict(state, strict=True)
                counts = [v for k, v in state.items() if k.endswith("num_batches_tracked")]
                if not fold and not (counts and all(v.dtype == torch.int64 and v.item() == 3 for v in counts)):
                    raise Wrong(f"{label}: {kind}: num_batches_tracked is {counts}")
                with torch.no_grad():
                    compare(f"{label}: {kind} in torchvision", ours, model.eval()(images))
                checks += 1
        path = os.path.join(folder, "model.onnx")
        syncbn(program, "export", out, "--format", "onnx", "--out", path, *fold)
        if onnxruntime is not None:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            compare(f"{label}: onnxruntime", ours, session.run(["logits"], {"images": images.numpy()})[0])
            compare(f"{label}: onnxruntime, one image", ours[1:2],
                    session.run(["logits"], {"images": images[1:2].numpy()})[0])
            checks += 2
    return checks


def check_import(program, folder):
    """torchvision's own weights: biases before norms are taken off, and the logits are torchvision's."""
    torch.manual_seed(1)
    checks = 0
    for name, make in TORCHVISION.items():
        model = make()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.2)
            if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
                torch.nn.init.normal_(module.bias, 0, 0.3)
        path, out = os.path.join(folder, name + ".safetensors"), os.path.join(folder, name + ".out")
        safetensors_file.write(path, model.state_dict())
        run_file = os.path.join(folder, name + ".json")
        spec = {**BASE, "model": {"architecture": name, "init": {"from": path}, "norm": {"running": {"frozen": "*"}}}}
        # A step that moves nothing: what is left are the weights that were given.
        spec["train"] = {"max_steps": 1, "learning_rate": {"base": 1e-30}}
        with open(run_file, "w") as file:
            json.dump(spec, file)
        syncbn(program, "train", run_file, "--out", out, "--quiet", "--no-evaluation")
        image = os.path.join(folder, "0.png")
        write_png(image, 32, 32, pixel_of(0))
        line = json.loads(syncbn(program, "predict", out, image, "--format", "json", "--logits"))
        with torch.no_grad():
            expected = model.eval()(inputs(out)[:1])
        compare(f"{name}: torchvision's weights", torch.tensor([line["logits"]]), expected)
        checks += 1
    return checks


def main():
    program = sys.argv[1]
    torch.set_num_threads(1)
    passed, failures = 0, 0
    if onnxruntime is None:
        print("onnxruntime is not installed: ONNX files are written and not run", flush=True)
    for name in [*MODELS, "import"]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                checks = check_import(program, folder) if name == "import" else check(program, name, folder)
                passed += checks
                print(f"ok     {name}: {checks} comparisons", flush=True)
            except Exception as error:  # also what the others do not read: the rest is still checked
                failures += 1
                kind = "" if isinstance(error, Wrong) else type(error).__name__ + ": "
                print(f"WRONG  {name}: {kind}{error}", flush=True)
    test_report.end(passed, failures)


if __name__ == "__main__":
    main()
