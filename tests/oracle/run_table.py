"""The run files whose steps are computed again: every kind, scope, placement, optimizer and schedule
of the schema, uneven and empty replicas, on one process and on two. All are small: the reference
back end is slow, and one wrong term shows in ten numbers as well as in ten thousand."""

# 32 x 32 images -> 8 x 8 -> 4 x 4.
CONV1 = {"conv": {"out": 6, "kernel": 3, "stride": 4, "padding": 1}}
CONV2 = {"conv": {"out": 4, "kernel": 3, "stride": 2, "padding": 1}}
HEAD = ["global_average_pool", {"linear": 10}]
NET = [CONV1, "norm", "relu", CONV2, "norm", "relu"] + HEAD
# Nothing with a kink: rounding cannot change which side of it a value is on.
SMOOTH = [CONV1, "norm", "tanh", {"average_pool": 2}, CONV2, "norm", "sigmoid", "flatten", {"linear": 10}]
RESIDUAL = [
    CONV1, "norm", "relu",
    {"name": "block",
     "residual": {
         "body": [{"conv": {"out": 8, "stride": 2, "padding": 1}}, "norm", "relu",
                  {"conv": {"out": 8, "padding": 1}}, "norm"],
         "shortcut": [{"conv": {"out": 8, "kernel": 1, "stride": 2}}, "norm"]}},
    "relu",
    {"residual": {"body": [{"conv": {"out": 8, "padding": 1}}]}},
] + HEAD
EVERYTHING = [
    {"conv": {"out": 6, "kernel": 5, "stride": 2, "padding": 2, "groups": 3, "bias": False}},
    {"norm": {"kind": "group", "groups": 3, "epsilon": 1e-3}}, "sigmoid",
    {"max_pool": {"kernel": 3, "stride": 2, "padding": 1}},
    {"conv": {"out": 4, "kernel": 2, "stride": 2}}, {"norm": "weight"}, "tanh",
    {"average_pool": {"kernel": 3, "stride": 1, "padding": 1}},
    {"norm": {"kind": "instance", "affine": False}},
    {"dropout": 0.25}, "flatten", {"linear": {"out": 12}}, {"norm": "layer"}, "relu",
    {"dropout": 0.5}, {"linear": {"out": 10, "bias": False}},
]
UNEVEN = {"replicas": 4, "batch_per_replica": [5, 0, 3, 4]}
EVEN = {"replicas": 4, "batch_per_replica": 3}
TABLE = []


def add(name, layers=None, norm=None, cluster=None, optimizer=None, rate=None, train=None,
        samples=20, data=None, backend="reference", processes=1, **model):
    """A run of 12 samples a step and 2 steps an epoch, of which the second has only 8 (7 samples,
    say, are spread unevenly)."""
    if layers is None and "architecture" not in model:
        layers = NET
    if layers is not None:
        model["layers"] = layers
    if norm is not None:
        model["norm"] = norm
    spec = {
        "name": name,
        "seed": len(TABLE) + 1,
        "data": {"dataset": "shapes", "shapes": {"train_samples": samples, "test_samples": 1},
                 **(data or {})},
        "model": model,
        "cluster": cluster or EVEN,
        "train": {"epochs": 2, "optimizer": optimizer or {"momentum": 0.9},
                  "learning_rate": rate or {"base": 0.05}, **(train or {})},
    }
    TABLE.append({"spec": spec, "backend": backend, "processes": processes})


# Which samples share statistics.
add("global")
add("global-uneven", cluster=UNEVEN, samples=19)
add("replica", norm={"batch": "replica"})
add("replica-uneven", norm={"batch": "replica"}, cluster=UNEVEN, samples=19)
add("slices", norm={"batch": 2}, samples=19)
add("slices-uneven", norm={"batch": 2}, cluster=UNEVEN, samples=19)
add("groups", norm={"batch": 6}, samples=19)
add("groups-of-uneven", norm={"batch": 7}, samples=25,
    cluster={"replicas": 4, "batch_per_replica": [5, 2, 0, 7]})
add("one-sample-each", norm={"batch": 1})
add("global-on-two", cluster=UNEVEN, samples=19, processes=2)
add("groups-on-two", layers=RESIDUAL, norm={"batch": 6}, processes=2)
add("native-on-two", cluster=dict(EVEN, reduction="native"), processes=2)

# Kinds, placements, running statistics.
add("none", norm="none")
add("layer", norm="layer", cluster=UNEVEN)
add("instance", norm="instance")
add("group", norm={"kind": "group", "groups": 4})
add("weight", norm="weight", layers=[CONV1, "norm", "relu", CONV2, "norm", "relu"] + HEAD)
add("no-scale", norm={"affine": False, "epsilon": 1e-2})
add("cumulative", norm={"running": "cumulative", "batch": "replica"})
add("no-running", norm={"running": "none"})
add("momentum-of-one", norm={"running": {"momentum": 1}})
add("residual", layers=RESIDUAL, cluster=UNEVEN, samples=19)
add("everything", layers=EVERYTHING, cluster=UNEVEN, data={"augment": {
    "random_crop_padding": 2, "horizontal_flip": True, "cutout": 3}})
add("mlp", architecture="mlp", hidden=[12, 9], norm={"batch": "replica"}, dropout=0.3,
    activation="tanh")
add("mlp-after", architecture="mlp", hidden=[12], activation="sigmoid",
    norm={"kind": "layer", "placement": "after_activation"}, data={"standardize": False})
add("mlp-weight", architecture="mlp", hidden=[12], norm="weight")
add("vgg11", architecture="vgg11", width=0.0625, dropout=0.2, train={"epochs": 1})
add("vgg11-after", architecture="vgg11", width=0.0625, train={"epochs": 1},
    norm={"placement": "after_activation"})
add("vgg11-none", architecture="vgg11", width=0.0625, norm="none", train={"epochs": 1})
add("resnet20", architecture="resnet20", width=0.25, train={"epochs": 1})
add("resnet20-after", architecture="resnet20", width=0.25, train={"epochs": 1},
    norm={"placement": "after_activation", "batch": "replica"})
add("resnet50", architecture="resnet50", width=0.03125, train={"epochs": 1},
    init={"zero_last_gamma": True})

# Recurrent layers, over the rows that a convolution leaves or the first ones of the images.
def recurrent(kind, **settings):
    # A bias of the convolution would be lost in the norms.
    return [{"conv": {"out": 3, "kernel": 4, "stride": 4, "bias": False}}, {kind: {"hidden": 5, **settings}},
            {"linear": 10}]


ROWS = {"hidden": 6, "train_rows": 5}
add("rnn", architecture="rnn", recurrent=ROWS, norm="none", cluster=UNEVEN, samples=19)
add("lstm", architecture="lstm", recurrent=ROWS, norm="none", dropout=0.3)
add("rnn-batch", architecture="rnn", recurrent=ROWS, cluster=UNEVEN, samples=19)
add("lstm-batch", recurrent("lstm"), cluster=UNEVEN, samples=19, processes=2)
add("lstm-groups", architecture="lstm", recurrent=ROWS, norm={"batch": 6, "initial_scale": 0.1}, samples=19)
# Two samples are -1 and 1 but for epsilon, of which all gradients are made.
add("rnn-slices", recurrent("rnn"), norm={"batch": 2, "affine": False, "epsilon": 1e-2},
    cluster={"replicas": 3, "batch_per_replica": 4})
add("rnn-shared", recurrent("rnn", statistics="shared"), cluster=UNEVEN, samples=19)
add("lstm-shared", architecture="lstm", recurrent=dict(ROWS, statistics="shared"),
    norm={"batch": 2, "running": "cumulative"}, samples=19)
add("rnn-layer", recurrent("rnn"), norm="layer")
add("lstm-layer", architecture="lstm", recurrent=ROWS, norm={"kind": "layer", "epsilon": 1e-3})

# Activations, noise, renormalization, whitening; dropout elsewhere; branches.
add("gelu", layers=[CONV1, "norm", "gelu", CONV2, "norm", "silu"] + HEAD)
add("mlp-gelu", architecture="mlp", hidden=[12, 9], activation="gelu", dropout=0.3,
    dropout_place="before_norm")
add("cnn-small-silu", architecture="cnn_small", width=0.25, activation="silu", dropout=0.2,
    dropout_place="after_activation", train={"epochs": 1})
add("vgg-small", architecture="vgg_small", width=0.5, dropout=0.2, train={"epochs": 1})
add("vgg11-dropout-after", architecture="vgg11", width=0.0625, dropout=0.1, train={"epochs": 1},
    dropout_place="after_activation", norm="none")
add("vgg-small-dropout-before", architecture="vgg_small", width=0.5, dropout=0.2,
    dropout_place="before_norm", train={"epochs": 1}, norm={"placement": "after_activation"})
add("initial-scale", norm={"initial_scale": 0.1}, layers=[CONV1, "norm", "relu", CONV2,
                                                          {"norm": {"initial_scale": 2}}] + HEAD)
NOISE = {"shift": 0.5, "scale": 1.25, "spread": 0.1}
add("noise", norm={"noise": NOISE}, cluster=UNEVEN, samples=19)
add("noise-on-two", layers=RESIDUAL, norm={"batch": 6, "noise": NOISE}, processes=2)
RENORM = {"r_max": 1.5, "d_max": 0.5}
add("renorm", norm={"kind": "batch_renorm", "renorm": RENORM}, cluster=UNEVEN, samples=19)
add("renorm-slices", norm={"kind": "batch_renorm", "batch": 2, "running": "cumulative", "affine": False},
    cluster=UNEVEN, samples=19)
add("renorm-ramp", norm={"kind": "batch_renorm", "batch": "replica",
                         "renorm": dict(RENORM, hold_steps=1, ramp_steps=2)})
add("renorm-on-two", layers=RESIDUAL, norm={"kind": "batch_renorm", "batch": 6}, processes=2)
add("iterative", norm="iterative", cluster=UNEVEN, samples=19)
add("iterative-groups", layers=RESIDUAL, norm={"kind": "iterative", "batch": 6, "group_channels": 3,
                                               "iterations": 3}, processes=2)
add("iterative-slices", norm={"kind": "iterative", "batch": 2, "running": "cumulative",
                              "affine": False, "group_channels": 4}, samples=19)
BRANCHES = {"concat": {"branches": [
    {"body": [{"conv": {"out": 3, "kernel": 1}}, "norm", "relu"]},
    {"body": [{"conv": {"out": 2, "padding": 1}}, "norm", "tanh"]},
    {"body": []},
    {"body": [{"max_pool": {"kernel": 3, "stride": 1, "padding": 1}}]}]}}
add("concat", layers=[CONV1, "norm", "relu", BRANCHES, {"name": "mix", **BRANCHES}] + HEAD)
add("inception", architecture="inception_bn_small", width=0.125, train={"epochs": 1})

# Optimizers.
add("sgd", optimizer={"kind": "sgd"})
add("nesterov", optimizer={"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
    train={"clip_norm": 0.1})
add("decay-weights-only", optimizer={"momentum": 0.5, "weight_decay": 0.1,
                                     "decay_norms_and_biases": False})
add("decoupled", optimizer={"momentum": 0.9, "weight_decay": 0.1, "weight_decay_mode": "decoupled"})
add("lars", optimizer={"kind": "lars", "momentum": 0.9, "weight_decay": 1e-2,
                       "trust_coefficient": 0.02}, rate={"base": 1.0})
add("lars-weights-only", norm="weight", optimizer={
    "kind": "lars", "momentum": 0.9, "weight_decay": 0.1, "trust_coefficient": 0.05,
    "decay_norms_and_biases": False, "weight_decay_mode": "decoupled"}, train={"clip_norm": 0.2})
add("adamw", optimizer={"kind": "adamw", "weight_decay": 0.1, "beta2": 0.99},
    rate={"base": 0.01}, train={"label_smoothing": 0.1})
add("adamw-on-two", optimizer={"kind": "adamw", "epsilon": 1e-4, "decay_norms_and_biases": False,
                               "weight_decay": 0.05},
    rate={"base": 0.02}, train={"clip_norm": 0.5}, cluster=UNEVEN, processes=2)

# Schedules; 2 steps an epoch.
LONG = {"epochs": 4}
SHORT = [CONV1, "norm", "relu"] + HEAD
add("step", SHORT, rate={"base": 0.1, "schedule": "step", "milestones": [1, 2.5], "gamma": 0.3},
    train=LONG)
add("cosine", SHORT, rate={"base": 0.1, "schedule": "cosine", "final": 0.1, "warmup_epochs": 1},
    train=LONG)
add("polynomial", SHORT, rate={"base": 0.1, "schedule": "polynomial", "power": 3}, train=LONG)
add("polynomial-to", SHORT, rate={"base": 0.1, "schedule": "polynomial", "power": 2, "final": 0.2,
                                  "scaling": "linear", "reference_batch": 4, "warmup_epochs": 1},
    train=LONG)
add("one-cycle", SHORT, rate={"base": 0.2, "schedule": "one_cycle", "final": 0.01, "scaling": "sqrt",
                              "reference_batch": 3, "rise": 0.4}, train=LONG)
add("drop-the-rest", SHORT, rate={"base": 0.1, "scaling": "linear", "reference_batch": 24,
                                  "warmup_epochs": 2},
    data={"last_batch": "drop", "shuffle": False}, samples=29, train={"epochs": 3})

# The back end that trains, in float32. Without kinks: where ReLU's input is zero but for rounding, one
# of the two sides passes a gradient that the other does not.
SMOOTH_RESIDUAL = [
    CONV1, "norm", "tanh",
    {"residual": {"body": [{"conv": {"out": 8, "stride": 2, "padding": 1}}, "norm", "tanh",
                           {"conv": {"out": 8, "padding": 1}}, "norm"],
                  "shortcut": [{"conv": {"out": 8, "kernel": 1, "stride": 2}}, "norm"]}},
    "tanh",
] + HEAD
add("cpu", layers=SMOOTH, cluster=UNEVEN, samples=19, backend="cpu",
    optimizer={"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2})
add("cpu-residual", layers=SMOOTH_RESIDUAL, norm={"batch": 6}, backend="cpu", processes=2)
add("cpu-slices", layers=SMOOTH, norm={"batch": 2}, backend="cpu", optimizer={"kind": "adamw"},
    rate={"base": 0.01})
add("cpu-weight", layers=SMOOTH, norm="weight", backend="cpu", optimizer={
    "kind": "lars", "momentum": 0.9, "weight_decay": 1e-2, "trust_coefficient": 0.02})
add("cpu-rnn", recurrent("rnn"), norm={"batch": 6}, backend="cpu", processes=2, samples=19)
add("cpu-lstm", architecture="lstm", recurrent=dict(ROWS, hidden=20), cluster=UNEVEN, samples=19,
    backend="cpu")
add("cpu-lstm-none", architecture="lstm", recurrent=ROWS, norm="none", backend="cpu")
add("cpu-iterative", layers=SMOOTH, norm="iterative", cluster=UNEVEN, samples=19, backend="cpu")
add("cpu-renorm-noise", layers=[CONV1, {"norm": {"noise": NOISE}}, "gelu", CONV2,
                                {"norm": {"kind": "batch_renorm", "renorm": RENORM}}, "silu"] + HEAD,
    backend="cpu")
add("cpu-resnet20", architecture="resnet20", width=0.5, activation="tanh", train={"epochs": 1},
    backend="cpu")
