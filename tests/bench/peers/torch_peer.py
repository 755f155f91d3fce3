#!/usr/bin/env python3
"""Training steps in PyTorch on one core a process, for tests/bench/compare (worker.py has the protocol): channels last, SGD
with Nesterov's momentum on a batch that is there already. Several processes are DistributedDataParallel over gloo; the
environment says which one this is (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT). With --threads one process has the batches of
all replicas in one, and a thread for each (REPLICAS)."""
import argparse
import contextlib
import os

import torch
import torch_nets
import worker
from torch import nn


class Trainer:
    def __init__(self, options, weights):
        self.options = options
        self.rank, self.processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        norm = torch_nets.SynchronizedNorm if options.synchronized and self.processes > 1 else nn.BatchNorm2d
        model = torch_nets.NETS[options.model](norm)
        model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()
                               if not name.startswith("optimizer.")}, strict=True)
        self.model = model.to(memory_format=torch.channels_last)
        forward = self.model
        if self.processes > 1:
            forward = nn.parallel.DistributedDataParallel(forward, broadcast_buffers=False)
        self.forward = torch.compile(forward) if options.compile else forward
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def load(self, batch):
        mine = slice(None) if self.processes == 1 else batch.replica == self.rank
        self.images = torch.tensor(batch.images[mine]).contiguous(memory_format=torch.channels_last)
        self.labels = torch.tensor(batch.labels[mine])
        for group in self.optimizer.param_groups:
            group["lr"] = batch.rate

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        precision = torch.autocast("cpu", torch.bfloat16) if self.options.bf16 else contextlib.nullcontext()
        with precision:
            loss = nn.functional.cross_entropy(self.forward(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        loss = loss.detach().float()
        if self.processes > 1:  # as a training script logs it
            torch.distributed.all_reduce(loss)
        return loss.item() / self.processes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=torch_nets.NETS, required=True)
    for name in ("--synchronized", "--compile", "--bf16", "--threads"):
        parser.add_argument(name, action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["REPLICAS"]) if options.threads else 1)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        torch.distributed.init_process_group("gloo")
    worker.serve(lambda weights: Trainer(options, weights))


if __name__ == "__main__":
    main()
