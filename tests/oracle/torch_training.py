"""Learning rate, clipping and optimizer of an effective run file, with PyTorch's own where it has
them, else by the formula that `syncbn explain` gives."""
import math

import torch


def steps_per_epoch(spec):
    cluster, data = spec["cluster"], spec["data"]
    sizes = cluster["batch_per_replica"]
    batch = sum(sizes) if isinstance(sizes, list) else sizes * cluster["replicas"]
    samples = data["shapes"]["train_samples"]
    return samples // batch if data["last_batch"] == "drop" else -(-samples // batch), batch


def learning_rates(spec):
    """The rate of every step of the run."""
    rate = spec["train"]["learning_rate"]
    per_epoch, batch = steps_per_epoch(spec)
    steps = max(1, round(spec["train"]["epochs"] * per_epoch))
    peak = base = rate["base"]
    if rate["scaling"] != "none":
        ratio = batch / rate["reference_batch"]
        peak = base * (ratio if rate["scaling"] == "linear" else math.sqrt(ratio))
    warmup = round(rate["warmup_epochs"] * per_epoch)
    rates = []
    for step in range(warmup):
        if peak > base:
            rates.append(base + (peak - base) * step / warmup)
        else:
            rates.append(peak * (step + 1) / (warmup + 1))
    return (rates + scheduled(rate, peak, warmup, steps, per_epoch))[:steps]


def scheduled(rate, peak, warmup, steps, per_epoch):
    length = max(1, steps - warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    kind, final = rate["schedule"], rate.get("final", 0)
    schedulers = torch.optim.lr_scheduler
    if kind == "constant":
        scheduler = schedulers.ConstantLR(optimizer, factor=1)
    elif kind == "step":
        milestones = [round(m * per_epoch) - warmup for m in rate["milestones"]]
        scheduler = schedulers.MultiStepLR(optimizer, milestones, rate["gamma"])
    elif kind == "cosine":
        scheduler = schedulers.CosineAnnealingLR(optimizer, length, eta_min=peak * final)
    elif kind == "polynomial" and final == 0:
        scheduler = schedulers.PolynomialLR(optimizer, length, rate["power"])
    elif kind == "polynomial":
        scheduler = schedulers.LambdaLR(
            optimizer, lambda s: final + (1 - final) * (1 - min(1, s / length)) ** rate["power"])
    elif kind == "one_cycle":
        # PyTorch's OneCycleLR is another one: it ends each phase a step early.
        def one_cycle(step):
            progress, rise = step / length, rate["rise"]
            if progress < rise:
                return cosine(1 / 25, 1, progress / rise)
            return cosine(1, final, min(1, (progress - rise) / (1 - rise)))
        scheduler = schedulers.LambdaLR(optimizer, one_cycle)
    else:
        raise AssertionError(f"no schedule {kind}")
    rates = []
    for _ in range(length):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def cosine(begin, end, progress):
    return end + (begin - end) * (1 + math.cos(math.pi * progress)) / 2


class Training:
    """Moves parameters (leaves by name) as the run file's optimizer does. `weights`: the names of
    those that convolutions and linear layers multiply with."""

    def __init__(self, spec, parameters, weights):
        self.spec = spec["train"]["optimizer"]
        self.clip_norm = spec["train"]["clip_norm"]
        self.parameters = parameters
        self.kind = self.spec["kind"]
        mode = self.spec.get("weight_decay_mode")
        self.decoupled = self.kind != "adamw" and mode == "decoupled"
        everything = self.spec["decay_norms_and_biases"]
        self.decays = {name for name in parameters if everything or name in weights}
        groups = [{"params": [p for n, p in parameters.items() if (n in self.decays) == decays],
                   "weight_decay": self.spec["weight_decay"] if decays else 0}
                  for decays in (True, False)]
        groups = [group for group in groups if group["params"]]
        if self.kind == "adamw":
            self.optimizer = torch.optim.AdamW(
                groups, lr=1, betas=(self.spec["beta1"], self.spec["beta2"]),
                eps=self.spec["epsilon"])
        else:
            if self.decoupled or self.kind == "lars":
                for group in groups:  # done by hand
                    group["weight_decay"] = 0
            self.optimizer = torch.optim.SGD(groups, lr=1, momentum=self.spec["momentum"],
                                             nesterov=self.spec.get("nesterov", False))

    def slots(self):
        """The optimizer's state by parameter, under syncbn's names of it."""
        if self.kind == "adamw":
            return {"mean": "exp_avg", "square": "exp_avg_sq"}
        return {"velocity": "momentum_buffer"} if self.spec["momentum"] > 0 else {}

    def load(self, tensors, updates):
        """Goes on from tensors named as in a dump."""
        if updates == 0:
            return
        for name, parameter in self.parameters.items():
            state = self.optimizer.state[parameter]
            for slot, torch_name in self.slots().items():
                state[torch_name] = tensors[f"optimizer.{slot}.{name}"].to(parameter.dtype).clone()
            if self.kind == "adamw":
                state["step"] = torch.tensor(float(updates))

    def state(self):
        return {f"optimizer.{slot}.{name}": self.optimizer.state[parameter][torch_name]
                for slot, torch_name in self.slots().items()
                for name, parameter in self.parameters.items()}

    def gradient_scale(self):
        norm = math.sqrt(sum(p.grad.double().pow(2).sum().item() for p in self.parameters.values()))
        return min(1, self.clip_norm / norm) if self.clip_norm > 0 else 1

    def step(self, rate, gradient_scale):
        """One update from the parameters' .grad, which is changed."""
        decay = self.spec["weight_decay"]
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.grad.mul_(gradient_scale)
                if name not in self.decays:
                    continue
                coupled = 0 if self.decoupled else decay
                if self.kind == "lars":
                    weight, gradient = parameter.norm(), parameter.grad.norm()
                    trust = 1
                    if weight > 0 and gradient > 0:
                        trust = self.spec["trust_coefficient"] * weight / (
                            gradient + coupled * weight)
                    parameter.grad.add_(parameter, alpha=coupled).mul_(trust)
                if self.decoupled:
                    parameter.mul_(1 - rate * decay)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
