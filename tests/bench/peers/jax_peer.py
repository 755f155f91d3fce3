#!/usr/bin/env python3
"""Training steps in JAX with flax's BatchNorm, for tests/bench/compare (worker.py has the protocol): one program compiled by
XLA, one device of the host a replica, statistics over the replicas by an axis name. REPLICAS in the environment says how many."""
import argparse
import os

REPLICAS = int(os.environ.get("REPLICAS", 1))
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={REPLICAS}"
os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy  # noqa: E402
import worker  # noqa: E402

AXIS = "replicas"


class Net(nn.Module):
    """Layers have the names of syncbn's parameters, with _ for the point."""
    synchronized: bool

    def conv(self, name, x, features, kernel=3, stride=1):
        return nn.Conv(features, (kernel, kernel), stride, [(kernel // 2, kernel // 2)] * 2, use_bias=False,
                       name=name.replace(".", "_"))(x)

    def norm(self, name, x):
        return nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5,
                            axis_name=AXIS if self.synchronized else None, name=name.replace(".", "_"))(x)

    def head(self, name, x):
        return nn.Dense(10, name=name)(x.mean((1, 2)))


class ResNet20(Net):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(self.norm("bn1", self.conv("conv1", x, 16)))
        for stage, width in enumerate((16, 32, 64)):
            for i in range(3):
                at, stride = f"layer{stage + 1}.{i}", 2 if stage > 0 and i == 0 else 1
                y = nn.relu(self.norm(f"{at}.bn1", self.conv(f"{at}.conv1", x, width, stride=stride)))
                y = self.norm(f"{at}.bn2", self.conv(f"{at}.conv2", y, width))
                if stride != 1:
                    x = self.norm(f"{at}.downsample.1", self.conv(f"{at}.downsample.0", x, width, 1, stride))
                x = nn.relu(y + x)
        return self.head("fc", x)


class Vgg11(Net):
    @nn.compact
    def __call__(self, x):
        number = 0
        for width in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
            if width == 0:
                x = nn.max_pool(x, (2, 2), (2, 2))
                number += 1
                continue
            x = nn.relu(self.norm(f"features.{number + 1}", self.conv(f"features.{number}", x, width)))
            number += 3
        return self.head("classifier", x)


class ResNet9(Net):
    @nn.compact
    def __call__(self, x):
        def conv(number, x, width, before="", pool=False):
            x = self.conv(f"{before}{number}", x, width)
            if pool:
                x = nn.max_pool(x, (2, 2), (2, 2))
            return nn.relu(self.norm(f"{before}{number + 1 + pool}", x))

        def block(name, x, width):
            return x + conv(3, conv(0, x, width, f"{name}.body."), width, f"{name}.body.")

        x = block("block1", conv(3, conv(0, x, 32), 64, pool=True), 64)
        x = block("block3", conv(12, conv(8, x, 128, pool=True), 256, pool=True), 256)
        return self.head("18", x)


NETS = {"resnet20": ResNet20, "vgg11": Vgg11, "resnet9": ResNet9}


def variables(weights):
    """flax's trees of PyTorch's names and layouts."""
    params, running = {}, {}
    for name, array in weights.items():
        module, _, kind = name.rpartition(".")
        if name.startswith("optimizer.") or kind == "num_batches_tracked":
            continue
        at = module.replace(".", "_")
        array = numpy.asarray(array, numpy.float32)
        if kind.startswith("running_"):
            running.setdefault(at, {})[kind.replace("running_", "")] = array
        elif kind == "weight" and array.ndim == 4:
            params.setdefault(at, {})["kernel"] = array.transpose(2, 3, 1, 0)
        elif kind == "weight" and array.ndim == 2:
            params.setdefault(at, {})["kernel"] = array.T
        else:
            params.setdefault(at, {})["scale" if kind == "weight" else "bias"] = array
    return params, running


class Trainer:
    def __init__(self, options, weights):
        params, running = variables(weights)
        net = NETS[options.model](options.synchronized and REPLICAS > 1)

        def loss_of(params, running, images, labels):
            logits, updated = net.apply({"params": params, "batch_stats": running}, images, mutable=["batch_stats"])
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
            return -chosen.mean(), updated["batch_stats"]

        def step(state, images, labels, rate):
            params, running, velocity = state
            (loss, running), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, running, images, labels)
            if REPLICAS > 1:
                gradient, loss = jax.lax.pmean((gradient, loss), AXIS)
            gradient = jax.tree.map(lambda g, p: g + 5e-4 * p, gradient, params)
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            params = jax.tree.map(lambda p, g, v: p - rate * (g + 0.9 * v), params, gradient, velocity)
            return (params, running, velocity), loss

        state = (params, running, jax.tree.map(numpy.zeros_like, params))
        if REPLICAS > 1:
            self.run = jax.pmap(step, AXIS, in_axes=(0, 0, 0, None), donate_argnums=0)
            state = jax.tree.map(lambda a: numpy.broadcast_to(a, (REPLICAS, *a.shape)), state)
        else:
            self.run = jax.jit(step, donate_argnums=0)
        self.state = jax.tree.map(jnp.asarray, state)

    def load(self, batch):
        images, labels = batch.images.transpose(0, 2, 3, 1), batch.labels.astype(numpy.int32)
        if REPLICAS > 1:  # equal slices, in the order of the replicas
            order = numpy.argsort(batch.replica, kind="stable")
            images = images[order].reshape(REPLICAS, -1, *images.shape[1:])
            labels = labels[order].reshape(REPLICAS, -1)
        self.images, self.labels, self.rate = jnp.asarray(images), jnp.asarray(labels), batch.rate

    def step(self):
        self.state, loss = self.run(self.state, self.images, self.labels, self.rate)
        return float(loss if REPLICAS == 1 else loss[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=NETS, required=True)
    parser.add_argument("--synchronized", action="store_true")
    options = parser.parse_args()
    worker.serve(lambda weights: Trainer(options, weights))


if __name__ == "__main__":
    main()
