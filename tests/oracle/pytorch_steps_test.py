"""Training steps computed again by PyTorch: each run file of run_table.py is trained with
--dump-steps, and every dumped number is compared with PyTorch's.

Usage: pytorch_steps_test.py SYNCBN RUN_PROTO [NAME ...]
"""
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import test_report  # noqa: E402

try:
    import torch
    import yaml
except ImportError as error:
    test_report.skip(f"{error}; install what launch/packages-test.txt lists")

import run_table  # noqa: E402
import safetensors_file  # noqa: E402
import torch_model  # noqa: E402
import torch_training  # noqa: E402

# Of double, 1e-16 a rounding: sums of some thousand terms, several steps one after the other, and in
# deep nets norms that divide by small deviations, one behind the other, make up to 1e-11 of it. A wrong
# term is off by far more.
DOUBLE = 1e-9
# Of float32, 6e-8 a rounding, with the same growth; each step starts from the dumped state.
SINGLE = 5e-4
# Roundings alone: figures that depend on no sum.
EXACT = 1e-13


class Difference(Exception):
    pass


def compare(name, ours, expected, tolerance, scale=0.0):
    """Elements differ by at most `tolerance` of the largest expected, or of `scale`."""
    ours, expected = (torch.as_tensor(x) if torch.is_tensor(x) else torch.tensor(x, dtype=torch.float64)
                      for x in (ours, expected))
    if ours.shape != expected.shape:
        raise Difference(f"{name}: shape {list(ours.shape)}, PyTorch {list(expected.shape)}")
    if ours.numel() == 0:
        return
    ours, expected = ours.double(), expected.detach().double()
    off = (ours - expected).abs()
    allowed = tolerance * max(expected.abs().max().item(), scale)
    if not off.max().item() <= allowed:  # NaN is wrong
        at = off.flatten().argmax().item()
        raise Difference(f"{name}: element {at} is {ours.flatten()[at].item()!r}, PyTorch has "
                         f"{expected.flatten()[at].item()!r}; off by {off.max().item():.3g}, "
                         f"allowed {allowed:.3g}")


def same_names(what, ours, expected):
    if set(ours) != set(expected):
        raise Difference(f"{what}: the dump lacks {sorted(set(expected) - set(ours))} and has "
                         f"{sorted(set(ours) - set(expected))} too much")


def part(tensors, prefix):
    return {n[len(prefix):]: t for n, t in tensors.items() if n.startswith(prefix)}


def is_running(name):
    return name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "running_covariance",
                                     "num_batches_tracked")


class Oracle:
    """PyTorch's run beside the dumped one."""

    def __init__(self, spec, chained):
        self.spec = spec
        # Whether PyTorch goes on from its own state instead of the dumped one.
        self.chained = chained
        self.tolerance = DOUBLE if chained else SINGLE
        self.rates = torch_training.learning_rates(spec)
        self.parameters = self.training = None
        self.previous = None

    def start(self, before, updates):
        self.parameters = {n: t.double().clone().requires_grad_() for n, t in before.items()
                           if not is_running(n) and not n.startswith("optimizer.")}
        self.running = {n: t.clone() for n, t in before.items() if is_running(n)}
        self.training = None

    def check(self, step, path):
        tensors, metadata = safetensors_file.read(path)
        before, after = part(tensors, "before."), part(tensors, "after.")
        assert int(metadata["step"]) == step and metadata["accepted"] == "true", metadata
        if self.previous is not None:
            same_names("before", before, self.previous)
            for name, tensor in before.items():
                if not torch.equal(tensor, self.previous[name]):
                    raise Difference(f"before.{name} is not what the step before left")
        self.previous = after
        updates = int(metadata["optimizer_updates"])
        assert updates == step, "every step was accepted"
        if self.parameters is None or not self.chained:
            self.start(before, updates)
        self.check_batch(tensors)

        forward = torch_model.Pass(self.spec, self.parameters, self.running,
                                   tensors["input.replica"].tolist(),
                                   {n: t.double() for n, t in part(tensors, "dropout.").items()},
                                   {n: t.double() for n, t in part(tensors, "noise.").items()}, step)
        logits = forward.run(tensors["input.images"].double())
        same_names("parameters, dropout and noise", list(self.parameters) +
                   ["dropout " + n for n in forward.dropout_factors] +
                   ["noise " + n.rsplit(".", 1)[0] for n in forward.noise_draws], forward.used)
        if self.training is None:
            self.training = torch_training.Training(self.spec, self.parameters, forward.weights)
            self.training.load(before, updates)
        for parameter in self.parameters.values():
            parameter.grad = None
        loss = torch.nn.functional.cross_entropy(
            logits, tensors["input.labels"].long(), label_smoothing=self.spec["train"]["label_smoothing"])
        loss.backward()

        compare("output.logits", tensors["output.logits"], logits, self.tolerance)
        compare("loss", float(metadata["loss"]), loss, self.tolerance)
        gradients = part(tensors, "gradient.")
        same_names("gradients", gradients, self.parameters)
        # A gradient that is zero by cancellation (of a bias before a norm) is held against the others.
        largest = max(p.grad.abs().max().item() for p in self.parameters.values())
        for name, parameter in self.parameters.items():
            compare("gradient." + name, gradients[name], parameter.grad, self.tolerance,
                    scale=1e-3 * largest)
        scale = self.training.gradient_scale()
        compare("gradient_scale", float(metadata["gradient_scale"]), scale, self.tolerance)
        compare("learning_rate", float(metadata["learning_rate"]), self.rates[step], EXACT)
        self.training.step(self.rates[step], scale)
        expected = {**self.parameters, **self.running, **self.training.state()}
        same_names("after", after, expected)
        for name, tensor in after.items():
            compare("after." + name, tensor, expected[name], self.tolerance, scale=1e-3 * largest)
        if not self.chained:
            # What a step adds is small beside the parameter: in float32 it is the change that tells.
            for name, parameter in self.parameters.items():
                old = before[name].double()
                compare("change of " + name, after[name].double() - old, parameter - old,
                        self.tolerance, scale=1e-3 * old.abs().max().item())

    def check_batch(self, tensors):
        """What was fed is in PyTorch's layout and on the replicas of the run file."""
        replica = tensors["input.replica"]
        assert list(tensors["input.images"].shape) == [len(replica), 3, 32, 32]
        assert torch.equal(replica, replica.sort().values)
        assert replica.min() >= 0 and replica.max() < self.spec["cluster"]["replicas"]
        assert len(tensors["input.sample_ids"].unique()) == len(replica)


def run(program, entry, folder):
    """Trains and checks every step; returns how many there were, and the effective run file."""
    name = entry["spec"]["name"]
    out, run_file = os.path.join(folder, name), os.path.join(folder, name + ".yaml")
    with open(run_file, "w") as file:
        # Without aliases for what the table uses twice: they are no part of a run file.
        file.write(yaml.safe_dump(json.loads(json.dumps(entry["spec"]))))
    command = [program, "train", run_file, "--out", out, "--backend", entry["backend"], "--quiet",
               "--dump-steps", "1000", "--no-evaluation", "--no-checkpoints"]
    if entry["processes"] > 1:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np",
                   str(entry["processes"])] + command
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    if done.returncode != 0:
        raise Difference(f"syncbn train ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    with open(os.path.join(out, "run.yaml")) as file:
        spec = yaml.safe_load(file)
    oracle = Oracle(spec, chained=entry["backend"] == "reference")
    steps = sorted(os.listdir(os.path.join(out, "steps")))
    if len(steps) != len(oracle.rates) or len(steps) < 2:
        raise Difference(f"{len(steps)} steps were dumped, expected {len(oracle.rates)}")
    for step, file in enumerate(steps):
        try:
            oracle.check(step, os.path.join(out, "steps", file))
        except Difference as difference:
            raise Difference(f"step {step}: {difference}") from None
    return len(steps), spec


def values_of(spec):
    """Every text that stands in a run file as a value or, for layers, as a key."""
    if isinstance(spec, dict):
        return set().union(spec, *map(values_of, spec.values()))
    if isinstance(spec, list):
        return set().union(*map(values_of, spec))
    return {spec} if isinstance(spec, str) else set()


def not_covered(folder, specs):
    """Values of the schema's enumerations, and kinds of layers, that no run file of the table has."""
    text = ""
    for part in ("data", "model", "train", "run"):
        with open(os.path.join(folder, part + ".proto")) as file:
            text += file.read()
    # Decide nothing inside a step, or are other data; precisions other than float32 are for GPUs alone, and
    # compared with the reference operation by operation on the emulated one; forms of convolutions are held
    # against the reference by tests/backend/winograd_test.cc.
    others = ("Convolution", "DamagedFiles", "Dataset", "EvaluationMode", "InitKind", "Precision", "ResumeOn")
    seen = set().union(*map(values_of, specs))
    missing = set()
    for enum, body in re.findall(r"^enum (\w+) \{(.*?)^\}", text, re.M | re.S):
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum).upper() + "_"
        values = [v for v in re.findall(r"^  (\w+) = [1-9]\d*;", body, re.M)]
        assert values and all(v.startswith(prefix) for v in values), enum
        if enum not in others:
            missing |= {enum + " " + v[len(prefix):].lower() for v in values
                        if v[len(prefix):].lower() not in seen}
    (layers,) = re.findall(r"^  oneof kind \{(.*?)^  \}", text, re.M | re.S)
    kinds = re.findall(r"^    \w+Spec (\w+) =", layers, re.M)
    assert len(kinds) >= 12, kinds
    return missing | {"layer " + k for k in kinds if k not in seen}


def main():
    program, folder_of_protos, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    torch.set_num_threads(1)
    table = [entry for entry in run_table.TABLE if not names or entry["spec"]["name"] in names]
    failures, steps, specs = [], 0, []
    with tempfile.TemporaryDirectory() as folder:
        for entry in table:
            name = entry["spec"]["name"]
            try:
                count, spec = run(program, entry, folder)
                steps += count
                specs.append(spec)
                print(f"ok     {name}: {count} steps", flush=True)
            except Exception as error:  # also what the model does not have: the rest is still checked
                failures.append(name)
                kind = "" if isinstance(error, Difference) else type(error).__name__ + ": "
                print(f"WRONG  {name}: {kind}{error}", flush=True)
    if not names:
        missing = not_covered(folder_of_protos, specs)
        if missing and not failures:
            failures.append("the table")
            print(f"WRONG  no run file of run_table.py has {sorted(missing)}")
    print(json.dumps({"runs": len(table), "steps": steps, "wrong": failures}))
    test_report.end(len(table) - len(failures), len(failures))


if __name__ == "__main__":
    main()
