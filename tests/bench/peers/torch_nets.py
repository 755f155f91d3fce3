"""ResNet-20 (He et al. 2015, section 4.2, projections as shortcuts), VGG11-BN and the net of configs/resnet9-cifar10.yaml for
images of 32 x 32 in PyTorch, with the names of syncbn's parameters, so that load_state_dict(strict=True) takes its weights."""
import collections

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet20(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = norm(16)
        self.relu = nn.ReLU(inplace=True)
        inputs = 16
        for stage, width in enumerate((16, 32, 64)):
            blocks = []
            for i in range(3):
                blocks.append(Block(inputs, width, 2 if stage > 0 and i == 0 else 1, norm))
                inputs = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class Vgg11(nn.Module):
    def __init__(self, norm):
        super().__init__()
        layers, inputs = [], 3
        for width in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(inputs, width, 3, 1, 1, bias=False), norm(width), nn.ReLU(inplace=True)]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, 10)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class _Sum(nn.Module):
    """x + body(x)."""

    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return x + self.body(x)


class ResNet9(nn.Sequential):
    def __init__(self, norm):
        def conv(inputs, outputs, *pool):
            return [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), *pool, norm(outputs), nn.ReLU(inplace=True)]

        def block(width):
            return [_Sum(*conv(width, width), *conv(width, width))]

        half = nn.MaxPool2d(2)
        layers = [*conv(3, 32), *conv(32, 64, half), *block(64), *conv(64, 128, half), *conv(128, 256, half), *block(256),
                  nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)]
        # The file numbers its layers, gives the sums names, and takes no layer to flatten a mean.
        names, number = [], 0
        for layer in layers:
            if isinstance(layer, _Sum):
                names.append("block1" if "block1" not in names else "block3")
            else:
                names.append("flatten" if isinstance(layer, nn.Flatten) else str(number))
            number += not isinstance(layer, nn.Flatten)
        super().__init__(collections.OrderedDict(zip(names, layers)))


NETS = {"resnet20": ResNet20, "vgg11": Vgg11, "resnet9": ResNet9}


class _SumOverProcesses(torch.autograd.Function):
    """An all-reduce whose gradient is one as well: what every process's output depends on."""

    @staticmethod
    def forward(context, x):
        x = x.clone()
        torch.distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(context, dy):
        dy = dy.clone()
        torch.distributed.all_reduce(dy)
        return dy


class SynchronizedNorm(nn.BatchNorm2d):
    """Batch normalization over all processes, one message a pass: torch.nn.SyncBatchNorm refuses CPUs."""

    def forward(self, x):
        count = x.numel() // x.shape[1]
        channels = x.shape[1]
        y = x.float()
        sums = _SumOverProcesses.apply(torch.cat((y.sum((0, 2, 3)), (y * y).sum((0, 2, 3)), y.new_full((1,), count))))
        mean = sums[:channels] / sums[-1]
        var = sums[channels:-1] / sums[-1] - mean * mean
        with torch.no_grad():
            n = sums[-1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (n / (n - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        return (y * scale[None, :, None, None] + shift[None, :, None, None]).to(x.dtype)
