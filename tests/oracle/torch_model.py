"""The model of an effective run file, written with PyTorch's own operations on [N, C, H, W].

Nothing here knows how syncbn computes: layers come from torch.nn.functional, gradients from
autograd. What the run file means is taken from its documentation (`syncbn explain`).
"""
import torch
import torch.nn.functional as F

NORM_LAYERS = ("batch", "layer", "instance", "group", "batch_renorm", "iterative")
ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu,
               "silu": F.silu}


def statistics_groups(batch, cluster, replica):
    """Indices of the samples that share statistics, for samples whose replicas are `replica`."""
    samples = batch.get("samples")
    mine = [[i for i, r in enumerate(replica) if r == k] for k in range(cluster["replicas"])]
    if samples is None:
        groups = mine if batch["scope"] == "replica" else [sum(mine, [])]
    else:
        sizes = cluster["batch_per_replica"]
        if not isinstance(sizes, list):
            sizes = [sizes] * cluster["replicas"]
        groups = None
        if samples < max(sizes):
            groups = []
            for own in mine:
                count = -(-len(own) // samples)
                for i in range(count):  # balanced, the larger first
                    begin = i * (len(own) // count) + min(i, len(own) % count)
                    size = len(own) // count + (1 if i < len(own) % count else 0)
                    groups.append(own[begin:begin + size])
        elif samples == max(sizes):
            groups = mine
        else:
            for width in range(2, len(sizes) + 1):
                starts = range(0, len(sizes), width)
                if len(sizes) % width == 0 and all(sum(sizes[s:s + width]) == samples
                                                   for s in starts):
                    groups = [sum(mine[s:s + width], []) for s in starts]
                    break
            assert groups is not None, f"no group of replicas holds {samples} samples"
    return [group for group in groups if group]


class Pass:
    """One forward pass. `parameters` are leaves by name; `running` is updated in place."""

    def __init__(self, spec, parameters, running, replica, dropout, noise, step):
        self.spec = spec
        self.model = spec["model"]
        self.norm_spec = self.model.get("norm", {})  # left out where no layer uses it
        self.parameters = parameters
        self.running = running
        self.at_start = {name: tensor.clone() for name, tensor in running.items()}
        self.replica = replica
        self.dropout_factors = dropout
        self.noise_draws = noise
        self.step = step
        self.weights = set()  # names of what convolutions and linear layers multiply with
        self.used = set()
        self.x = None

    def parameter(self, name):
        self.used.add(name)
        return self.parameters[name]

    def weight(self, name, weight_norm):
        if not weight_norm:
            self.weights.add(name + ".weight")
            return self.parameter(name + ".weight")
        self.weights.add(name + ".weight_v")
        return torch._weight_norm(self.parameter(name + ".weight_v"),
                                  self.parameter(name + ".weight_g"), 0)

    def conv(self, name, bias, weight_norm, stride=1, padding=0, groups=1):
        self.x = F.conv2d(self.x, self.weight(name, weight_norm),
                          self.parameter(name + ".bias") if bias else None,
                          stride=stride, padding=padding, groups=groups)

    def linear(self, name, bias=True, weight_norm=False):
        self.x = F.linear(self.x, self.weight(name, weight_norm),
                          self.parameter(name + ".bias") if bias else None)

    def norm(self, name, spec=None):
        spec = spec or self.norm_spec
        kind = spec["kind"]
        if kind not in NORM_LAYERS:
            return
        scale = shift = None
        if spec["affine"]:
            scale, shift = self.parameter(name + ".weight"), self.parameter(name + ".bias")
        given = self.x
        if kind == "batch":
            self.batch_norm(name, spec, scale, shift)
            self.noise(name + ".noise", spec.get("noise", {}))
        elif kind == "batch_renorm":
            self.over_groups(spec, lambda part: self.renormalized(name, spec, part))
            self.scale_and_shift(scale, shift)
        elif kind == "iterative":
            self.over_groups(spec, lambda part: self.whitened(spec, part))
            self.scale_and_shift(scale, shift)
        elif kind == "instance":
            self.x = F.instance_norm(self.x, weight=scale, bias=shift, eps=spec["epsilon"])
        else:
            channels = self.x.shape[1]
            groups = 1 if kind == "layer" else next(
                g for g in range(min(spec["groups"], channels), 0, -1) if channels % g == 0)
            self.x = F.group_norm(self.x, groups, scale, shift, spec["epsilon"])
        self.update_running(name, spec, given)

    def over_groups(self, spec, normalized):
        parts, order = [], []
        for group in statistics_groups(spec["batch"], self.spec["cluster"], self.replica):
            parts.append(normalized(self.x[group]))
            order += group
        assert order == list(range(len(self.x))), "every sample is in one group"
        self.x = torch.cat(parts)

    def scale_and_shift(self, scale, shift):
        if scale is None:
            return
        shape = [1, -1] + [1] * (self.x.dim() - 2)
        self.x = self.x * scale.reshape(shape) + shift.reshape(shape)

    def renormalized(self, name, spec, x):
        """Ioffe 2017, equation 2 and algorithm 1: r and d are constants of the gradient."""
        axes = [0] + list(range(2, x.dim()))
        mean = x.mean(axes, keepdim=True)
        std = (x.var(axes, unbiased=False, keepdim=True) + spec["epsilon"]).sqrt()
        running_mean = self.at_start[name + ".running_mean"].reshape(mean.shape)
        running_std = (self.at_start[name + ".running_var"].reshape(mean.shape)
                       + spec["epsilon"]).sqrt()
        limits, share = spec["renorm"], 1
        grown = self.step - limits["hold_steps"]
        if grown < limits["ramp_steps"]:
            share = max(0, grown) / limits["ramp_steps"]
        if grown < 0:
            share = 0
        r_max, d_max = 1 + share * (limits["r_max"] - 1), share * limits["d_max"]
        r = (std.detach() / running_std).clamp(1 / r_max, r_max)
        d = ((mean.detach() - running_mean) / running_std).clamp(-d_max, d_max)
        return (x - mean) / std * r + d

    def whitened(self, spec, x):
        """Huang et al. 2019, algorithm 1."""
        parts = []
        for part in torch.split(x, spec["group_channels"], dim=1):
            d = part.shape[1]
            rows = part.transpose(0, 1).reshape(d, -1)
            centered = rows - rows.mean(1, keepdim=True)
            covariance = centered @ centered.T / rows.shape[1] + spec["epsilon"] * torch.eye(d)
            trace = covariance.trace()
            p, scaled = torch.eye(d, dtype=x.dtype), covariance / trace
            for _ in range(spec["iterations"]):
                p = (3 * p - p @ p @ p @ scaled) / 2
            white = p / trace.sqrt() @ centered
            parts.append(white.reshape(d, x.shape[0], *x.shape[2:]).transpose(0, 1))
        return torch.cat(parts, 1)

    def noise(self, name, spec):
        if spec.get("shift", 0) > 0 or spec.get("scale", 1) > 1:
            self.used.add("noise " + name)
            self.x = (self.x * self.noise_draws[name + ".factors"]
                      + self.noise_draws[name + ".shifts"])

    def batch_norm(self, name, spec, scale, shift):
        def normalized(part):
            if part.numel() == part.shape[1]:
                # One value of each channel, which PyTorch refuses: it is its own mean.
                part = (part - part) * (scale if scale is not None else 1)
                return part + (shift if shift is not None else 0)
            return F.batch_norm(part, None, None, scale, shift, training=True, eps=spec["epsilon"])
        self.over_groups(spec, normalized)

    def update_running(self, name, spec, x):
        if "running" not in spec or spec["running"]["kind"] == "none":
            return
        if spec["kind"] == "iterative":
            blocks = torch.split(x, spec["group_channels"], dim=1)
            for i, block in enumerate(blocks):
                block_name = name if len(blocks) == 1 else f"{name}.groups.{i}"
                self.update_covariance(block_name, spec, block)
            return
        # The running statistics are moved by all samples of the step, whatever the groups.
        batches = self.running[name + ".num_batches_tracked"]
        batches += 1
        average = spec["running"]["kind"] == "cumulative"
        F.batch_norm(x.detach().double(), self.running[name + ".running_mean"],
                     self.running[name + ".running_var"], training=True,
                     momentum=1 / batches.item() if average else spec["running"]["momentum"])

    def update_covariance(self, name, spec, x):
        batches = self.running[name + ".num_batches_tracked"]
        batches += 1
        average = spec["running"]["kind"] == "cumulative"
        share = 1 / batches.item() if average else spec["running"]["momentum"]
        rows = x.detach().double().transpose(0, 1).reshape(x.shape[1], -1)
        for what, newest in (("mean", rows.mean(1)), ("covariance", torch.cov(rows))):
            self.running[f"{name}.running_{what}"].mul_(1 - share).add_(
                newest.reshape(self.running[f"{name}.running_{what}"].shape), alpha=share)

    def activate(self, kind=None):
        self.x = ACTIVATIONS[kind or self.model.get("activation", "relu")](self.x)

    def drop(self, name, probability):
        if probability > 0:
            self.used.add("dropout " + name)
            self.x = self.x * self.dropout_factors[name]

    # -- Named architectures ---------------------------------------------------------------------

    def normed(self):
        """Settings of a weight whose output the model's norm takes."""
        layer = self.norm_spec["kind"] in NORM_LAYERS
        after = layer and self.norm_spec["placement"] == "after_activation"
        return {"bias": not layer or after, "weight_norm": self.norm_spec["kind"] == "weight"}

    def after(self):
        return self.norm_spec.get("placement") == "after_activation"

    def drop_at(self, place, name):
        if self.model.get("dropout_place") == place:
            self.drop(name, self.model["dropout"])

    def drop_last(self):
        if self.model.get("dropout_place", "last_layers") == "last_layers":
            self.drop("dropout", self.model["dropout"])

    def norm_and_activate(self, name, activation=None):
        if not self.after():
            self.drop_at("before_norm", name + ".dropout")
            self.norm(name)
        self.activate()
        self.drop_at("after_activation", f"{activation}.dropout")
        if self.after():
            self.drop_at("before_norm", name + ".dropout")
            self.norm(name)

    def mlp(self):
        self.x = self.x.flatten(1)
        hidden = self.model["hidden"]
        for i in range(1, len(hidden) + 1):
            self.linear(f"fc{i}", **self.normed())
            self.norm_and_activate(f"bn{i}", f"act{i}")
        self.drop_last()
        self.linear(f"fc{len(hidden) + 1}")

    def lenet(self):
        for i in ("1", "2"):
            self.conv("conv" + i, **self.normed())
            self.norm_and_activate("bn" + i)
            self.x = F.max_pool2d(self.x, 2)
        self.x = self.x.flatten(1)
        if self.norm_spec["kind"] == "instance":  # features have no height and width
            self.linear("fc1")
            self.activate()
        else:
            self.linear("fc1", **self.normed())
            self.norm_and_activate("bn3")
        self.drop("dropout", self.model["dropout"])
        self.linear("fc2")

    def vgg(self, stages):
        norm = self.norm_spec["kind"] in NORM_LAYERS
        number = 0
        for convolutions in stages:
            for _ in range(convolutions):
                self.conv(f"features.{number}", padding=1, **self.normed())
                names = [f"features.{number + 1}", f"features.{number + 2}"]
                if self.after() or not norm:
                    names.reverse()
                self.norm_and_activate(*names)
                number += 3 if norm else 2
            if min(self.x.shape[2:]) > 1:
                self.x = F.max_pool2d(self.x, 2)
            number += 1
        self.x = self.x.mean((2, 3))
        self.drop_last()
        self.linear("classifier")

    def small(self, stages):
        number = 0
        for convolutions in stages:
            for _ in range(convolutions):
                number += 1
                self.conv(f"conv{number}", padding=1, **self.normed())
                self.norm_and_activate(f"bn{number}", f"act{number}")
            if min(self.x.shape[2:]) > 1:
                self.x = F.max_pool2d(self.x, 2)
        self.x = self.x.mean((2, 3))
        self.drop_last()
        self.linear("fc")

    def basic_conv(self, name):
        padding = self.parameters[name + (".conv.weight_v" if self.normed()["weight_norm"]
                                          else ".conv.weight")].shape[2] // 2
        self.conv(name + ".conv", padding=padding, **self.normed())
        self.norm_and_activate(name + ".bn")

    def inception_bn_small(self):
        self.basic_conv("stem")
        self.x = F.max_pool2d(self.x, 3, 2, 1)
        for block in (1, 2, 3, 4):
            before, parts = self.x, []
            for branch, convolutions in enumerate(((None,), (0, 1), (0, 1, 2), (1,)), 1):
                self.x = before
                if branch == 4:
                    self.x = F.avg_pool2d(before, 3, 1, 1, count_include_pad=False)
                for i in convolutions:
                    self.basic_conv(f"inception{block}.branch{branch}" + ("" if i is None else f".{i}"))
                parts.append(self.x)
            self.x = torch.cat(parts, 1)
            if block == 1:
                self.x = F.max_pool2d(self.x, 3, 2, 1)
        self.x = self.x.mean((2, 3))
        self.drop_last()
        self.linear("fc")

    def resnet(self, blocks, bottleneck):
        self.conv("conv1", padding=1, **self.normed())
        self.norm_and_activate("bn1")
        for stage, count in enumerate(blocks):
            for i in range(count):
                self.block(f"layer{stage + 1}.{i}", 2 if stage > 0 and i == 0 else 1, bottleneck)
        self.x = self.x.mean((2, 3))
        self.drop("dropout", self.model["dropout"])
        self.linear("fc")

    def block(self, name, stride, bottleneck):
        before = self.x
        if bottleneck:
            self.conv(name + ".conv1", **self.normed())
            self.norm_and_activate(name + ".bn1")
            self.conv(name + ".conv2", stride=stride, padding=1, **self.normed())
            self.norm_and_activate(name + ".bn2")
            self.conv(name + ".conv3", **self.normed())
        else:
            self.conv(name + ".conv1", stride=stride, padding=1, **self.normed())
            self.norm_and_activate(name + ".bn1")
            self.conv(name + ".conv2", padding=1, **self.normed())
        last = name + (".bn3" if bottleneck else ".bn2")
        if not self.after():
            self.norm(last)
        body, self.x = self.x, before
        if body.shape != before.shape:
            # Its norm stands directly behind it wherever the others stand: no bias.
            layer = self.norm_spec["kind"] in NORM_LAYERS
            self.conv(name + ".downsample.0", stride=stride, **dict(self.normed(), bias=not layer))
            self.norm(name + ".downsample.1")
        self.x = body + self.x
        self.activate()
        if self.after():
            self.norm(last)

    def recurrent(self, name, kind, settings):
        """PyTorch's own without a norm within; else written with its functions, step by step."""
        images = self.x
        rows = settings["train_rows"] or images.shape[2]
        # Time steps: a row's pixels in order, each with its channels.
        x = images[:, :, :rows].permute(0, 2, 3, 1).flatten(2)
        names = {n: name + "." + n + "_l0" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        self.weights |= {names["weight_ih"], names["weight_hh"]}
        w_ih, w_hh, b = (self.parameter(names[n]) for n in ("weight_ih", "weight_hh", "bias_ih"))
        hidden = w_hh.shape[1]
        if self.norm_spec["kind"] == "none":
            # What the forward pass of nn.RNN and nn.LSTM calls, for one layer, batch first.
            zero = x.new_zeros(1, len(x), hidden)
            of_layer = ([w_ih, w_hh, b, self.parameter(names["bias_hh"])], True, 1, 0.0, True, False, True)
            if kind == "lstm":
                self.x = torch._VF.lstm(x, (zero, zero), *of_layer)[0][:, -1]
            else:
                self.x = torch._VF.rnn_tanh(x, zero, *of_layer)[0][:, -1]
            return
        over_time = self.norm_spec["kind"] == "batch" and settings["statistics"] == "shared"
        share = F.linear(x, w_ih)
        if over_time:
            self.x = share.permute(0, 2, 1)  # [N, features, time steps]
            self.share_norm(name + ".bn_ih", shift=b)
            share = self.x.permute(0, 2, 1)
        h = c = x.new_zeros(len(x), hidden)
        for t in range(rows):
            if over_time:
                z = share[:, t] + F.linear(h, w_hh)
            else:
                z = self.step_norm(share[:, t], name + ".bn_ih", t, b)
                z = z + self.step_norm(F.linear(h, w_hh), name + ".bn_hh", t)
            if kind == "rnn":
                h = torch.tanh(z)
                continue
            i, f, g, o = z.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            u = c
            if not over_time:
                shift = self.parameter(name + ".bn_c.bias") if self.norm_spec["affine"] else None
                u = self.step_norm(c, name + ".bn_c", t, shift)
            h = torch.sigmoid(o) * torch.tanh(u)
        self.x = h

    def step_norm(self, x, name, step, shift=None):
        """A norm within a recurrent layer, of one time step."""
        self.x = x
        self.share_norm(name, shift, f"{name}.{step}")
        return self.x

    def share_norm(self, name, shift=None, statistics=None):
        spec = self.norm_spec
        scale = self.parameter(name + ".weight") if spec["affine"] else None
        if spec["kind"] == "layer":
            self.x = F.layer_norm(self.x, self.x.shape[1:], scale, shift, spec["epsilon"])
        else:
            given = self.x
            self.batch_norm(statistics or name, spec, scale, shift)
            self.update_running(statistics or name, spec, given)

    # -- Layers by hand --------------------------------------------------------------------------

    def layers(self, layers, prefix=""):
        for i, layer in enumerate(layers):
            layer = dict(layer)
            name = prefix + str(layer.pop("name", i))
            ((kind, settings),) = layer.items()
            follows = layers[i + 1].get("norm", {}).get("kind") if i + 1 < len(layers) else None
            self.layer(name, kind, settings or {}, follows)

    def layer(self, name, kind, settings, follows):
        bias = settings.get("bias", follows not in NORM_LAYERS)
        if kind == "conv":
            self.conv(name, bias, follows == "weight", settings["stride"], settings["padding"],
                      settings["groups"])
        elif kind == "linear":
            self.linear(name, bias, follows == "weight")
        elif kind == "norm":
            self.norm(name, settings)
        elif kind in ACTIVATIONS:
            self.activate(kind)
        elif kind == "max_pool":
            self.x = F.max_pool2d(self.x, settings["kernel"],
                                  settings.get("stride", settings["kernel"]), settings["padding"])
        elif kind == "average_pool":
            self.x = F.avg_pool2d(self.x, settings["kernel"],
                                  settings.get("stride", settings["kernel"]), settings["padding"],
                                  count_include_pad=False)
        elif kind == "global_average_pool":
            self.x = self.x.mean((2, 3))
        elif kind == "dropout":
            self.drop(name, settings["probability"])
        elif kind == "flatten":
            self.x = self.x.flatten(1)
        elif kind in ("rnn", "lstm"):
            self.recurrent(name, kind, settings)
        elif kind == "residual":
            before = self.x
            self.layers(settings["body"], name + ".body.")
            body, self.x = self.x, before
            self.layers(settings.get("shortcut", []), name + ".shortcut.")
            self.x = body + self.x
        elif kind == "concat":
            before, parts = self.x, []
            for i, branch in enumerate(settings["branches"]):
                self.x = before
                self.layers((branch or {}).get("body", []), f"{name}.branches.{i}.")
                parts.append(self.x)
            self.x = torch.cat(parts, 1)
        else:
            raise AssertionError(f"no layer {kind}")

    def run(self, images):
        """Logits of the images."""
        self.x = images
        architecture = self.model.get("architecture")
        if architecture is None:
            self.layers(self.model["layers"])
        elif architecture in ("mlp", "lenet", "inception_bn_small"):
            getattr(self, architecture)()
        elif architecture in ("rnn", "lstm"):
            self.recurrent(architecture, architecture, self.model["recurrent"])
            self.drop("dropout", self.model["dropout"])
            self.linear("fc")
        elif architecture in ("cnn_small", "vgg_small"):
            self.small([1, 1, 1] if architecture == "cnn_small" else [2, 2, 2])
        elif architecture == "vgg11":
            self.vgg([1, 1, 2, 2, 2])
        elif architecture == "resnet20":
            self.resnet([3, 3, 3], bottleneck=False)
        elif architecture == "resnet18":
            self.resnet([2, 2, 2, 2], bottleneck=False)
        elif architecture == "resnet50":
            self.resnet([3, 4, 6, 3], bottleneck=True)
        else:
            raise AssertionError(f"no architecture {architecture}")
        return self.x
