"""What tests/bench/compare asks of a peer, a JSON object a line on standard input, and its answers on standard output:

{"check": [FILES]}   start from the weights of the first file, take a step on the batch of each: {"losses": [...]}
{"steps": N}         N steps on the last of these batches: {"ms": [...]}
End of input         the end
"""
import json
import os
import struct
import sys
import time

import numpy

TYPES = {"F64": numpy.float64, "F32": numpy.float32, "I64": numpy.int64, "I32": numpy.int32}


def read_dump(path):
    """(arrays by name, metadata) of a step that `syncbn train --dump-steps` has written."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = file.read()
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        arrays[name] = numpy.frombuffer(body[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata


def part(arrays, prefix):
    return {name[len(prefix):]: array for name, array in arrays.items() if name.startswith(prefix)}


class Batch:
    """Images [N, 3, H, W], labels, the replica of each, and the rate of the step."""

    def __init__(self, path):
        arrays, metadata = read_dump(path)
        self.images, self.labels = arrays["input.images"], arrays["input.labels"].astype(numpy.int64)
        self.replica = arrays["input.replica"]
        self.rate = float(metadata["learning_rate"])


def serve(make_trainer):
    """`make_trainer(weights by name, images' shape)` gives an object with load(batch) and step() -> loss."""
    # Whatever a library prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    trainer = None
    for line in sys.stdin:
        order = json.loads(line)
        if "check" in order:
            arrays, _ = read_dump(order["check"][0])
            trainer = make_trainer(part(arrays, "before."))
            losses = []
            for path in order["check"]:
                trainer.load(Batch(path))
                losses.append(trainer.step())
            answer = {"losses": losses}
        else:
            times = []
            for _ in range(order["steps"]):
                begin = time.perf_counter()
                trainer.step()
                times.append(1000 * (time.perf_counter() - begin))
            answer = {"ms": times}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
