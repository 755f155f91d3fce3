#!/usr/bin/env python3
"""Training steps in PyTorch on one GPU, for comparison: channels last, SyncBatchNorm, SGD with Nesterov's momentum, on
random images that are on the GPU already. Prints one JSON object; takes the arguments of step_bench.cc."""
import argparse
import json
import statistics

import torch
from torch import nn


class Block(nn.Module):
    """A residual block (He et al. 2015): basic, or with a bottleneck."""

    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        sizes = ([(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)] if bottleneck else
                 [(inputs, width, 3, stride), (width, width, 3, 1)])
        layers = []
        for a, b, kernel, step in sizes:
            layers += [nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet(architecture, side, classes):
    depths, bottleneck = {"resnet18": ((2, 2, 2, 2), False), "resnet34": ((3, 4, 6, 3), False),
                          "resnet50": ((3, 4, 6, 3), True)}[architecture]
    layers = ([nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
              if side >= 64 else [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)])
    inputs = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        for i in range(depth):
            layers.append(Block(inputs, width, 2 if i == 0 and stage > 0 else 1, bottleneck))
            inputs = 4 * width if bottleneck else width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--precision", default="float32", choices=("float32", "tf32", "bf16"))
    for name, default in (("side", 224), ("batch", 64), ("classes", 1000), ("steps", 30), ("warm-up", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    model = nn.SyncBatchNorm.convert_sync_batchnorm(resnet(options.architecture, options.side, options.classes))
    model = model.cuda().to(memory_format=torch.channels_last)
    forward = torch.compile(model) if options.compile else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    images = torch.randn(options.batch, 3, options.side, options.side, device="cuda").to(memory_format=torch.channels_last)
    labels = torch.arange(options.batch, device="cuda") % options.classes

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=options.precision == "bf16"):
            loss = nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(options.warm_up):
        step()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(options.steps + 1)]
    events[0].record()
    for event in events[1:]:
        loss = step()
        event.record()
    torch.cuda.synchronize()
    times = [a.elapsed_time(b) for a, b in zip(events, events[1:])]
    median = statistics.median(times)
    print(json.dumps({"architecture": options.architecture, "precision": options.precision, "side": options.side,
                      "batch": options.batch, "steps": options.steps, "compiled": options.compile, "median_ms": median,
                      "least_ms": min(times), "most_ms": max(times), "images_per_second": 1000 * options.batch / median,
                      "loss": loss.item(), "torch": torch.__version__, "gpu": torch.cuda.get_device_name()}))


if __name__ == "__main__":
    main()
