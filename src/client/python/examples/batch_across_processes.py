"""How does the batch size act, and does it matter how many processes share it? Three runs of one run file: a batch of
32 on one process, the same on two, and one of 128; one frame of all, a table and a plot.

    python3 batch_across_processes.py [HOST:PORT] [PLOT.svg]
"""
import sys

import syncbn

RUN = {
    "name": "batch",
    "data": {"dataset": "shapes", "shapes": {"train_samples": 1024, "test_samples": 256}},
    "model": {"architecture": "cnn_small", "norm": {"kind": "batch", "batch": "global"}},
    "cluster": {"replicas": 2, "batch_per_replica": 16},
    "train": {"epochs": 2, "learning_rate": {"base": 0.05}},
}
SETTINGS = [{"batch": 32, "processes": 1}, {"batch": 32, "processes": 2}, {"batch": 128, "processes": 2}]

# %% Submit: all are queued at once, and run as slots are free.
client = syncbn.Client(sys.argv[1] if len(sys.argv) > 1 else None)
jobs = syncbn.Jobs(
    client.submit(RUN, name=f"batch-{setting['batch']}", processes=setting["processes"], labels={"batch": setting["batch"]},
                  overrides={"cluster.batch_per_replica": setting["batch"] // 2})
    for setting in SETTINGS)
jobs.wait()

# %% One frame: a row for each step of each job.
frame = jobs.metrics(["train/loss", "test/accuracy"])
frame["samples"] = (frame["step"] + 1) * frame["label.batch"].astype(int)
table = frame.groupby(["label.batch", "processes"]).agg(
    steps=("step", "count"), loss=("train/loss", "last"), accuracy=("test/accuracy", "last"))
print(table.to_string())

# %% The number of processes changes nothing: the losses are equal to the last bit.
one, two = (frame.loc[frame["job"] == job.id, "train/loss"].to_list() for job in jobs[:2])
print("batch 32: one process and two", "have the same losses" if one == two else "DIFFER")

# %% A plot, where matplotlib is installed.
try:
    import matplotlib.pyplot as plt
except ImportError:
    print("no plot: matplotlib is not installed")
else:
    for job in jobs[1:]:
        rows = frame[frame["job"] == job.id]
        plt.plot(rows["samples"], rows["train/loss"], label=f"batch {job.labels['batch']}")
    plt.xlabel("samples")
    plt.ylabel("training loss")
    plt.legend()
    plt.savefig(sys.argv[2] if len(sys.argv) > 2 else "batch-across-processes.svg")
