"""Images a second of one core's time, decoded and augmented: of this program (image_folder_bench, which also makes
the images), and of PyTorch's DataLoader with PIL and with torchvision's v2 transforms on tensors (0.15 or later); in
turns. Prints a JSON object a figure, then medians over the rounds as a table.

Usage: image_folder_bench.py IMAGE_FOLDER_BENCH FOLDER [--seconds 5] [--rounds 3]
"""
import argparse
import json
import statistics
import subprocess
import time

import PIL
import torch
import torchvision
from torchvision import transforms
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROPPED, COLOURED, MIDDLE = KINDS = ("random resized crop, flip", "random resized crop, flip, colour jitter",
                                     "resize, middle")


def augmentations(of, kind):
    """`of`: transforms or v2, whose defaults for tensors and for PIL's images are the same."""
    if kind == MIDDLE:
        return [of.Resize(256, antialias=True), of.CenterCrop(224)]
    return ([of.RandomResizedCrop(224, antialias=True), of.RandomHorizontalFlip()] +
            ([of.ColorJitter(0.4, 0.4, 0.4, 0.1)] if kind == COLOURED else []))


def of_pil(kind):
    return {"transform": transforms.Compose(augmentations(transforms, kind) +
                                            [transforms.ToTensor(), transforms.Normalize(MEAN, STD)])}


def of_v2(kind):
    return {"transform": v2.Compose(augmentations(v2, kind) +
                                    [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]),
            "loader": lambda path: torchvision.io.read_image(path, torchvision.io.ImageReadMode.RGB)}


def rate(folder, made, seconds):
    dataset = torchvision.datasets.ImageFolder(folder + "/train", **made)
    images, begin, now = 0, None, 0
    while begin is None or now < begin + seconds:
        for batch, _ in torch.utils.data.DataLoader(dataset, 32, shuffle=True, num_workers=0):
            assert batch.shape[1:] == (3, 224, 224) and batch.dtype == torch.float32
            now = time.process_time()
            if begin is None:  # the first batch warms up
                begin = now
                continue
            images += len(batch)
            if now >= begin + seconds:
                break
    return images / (now - begin)


def ours(bench, folder, seconds):
    printed = subprocess.run([bench, "rate", folder, "--seconds", str(seconds)], check=True, capture_output=True,
                             text=True).stdout
    lines = map(json.loads, printed.splitlines())
    return {line["what"]: line["images_per_second_of_a_core"] for line in lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", metavar="IMAGE_FOLDER_BENCH")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = {"syncbn": None, "PIL": of_pil, "v2": of_v2}
    figures = {(kind, column): [] for kind in KINDS for column in columns}
    for _ in range(arguments.rounds):
        of_ours = ours(arguments.bench, arguments.folder, arguments.seconds)
        for (kind, column), values in figures.items():
            make = columns[column]
            values.append(rate(arguments.folder, make(kind), arguments.seconds) if make else of_ours[kind])
            print(json.dumps({"what": kind, "by": column, "images_per_second_of_a_core": round(values[-1], 1)}),
                  flush=True)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, PIL {PIL.__version__}; "
          f"median (least to most) of {arguments.rounds}")
    print("| | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1))
    for kind in KINDS:
        cells = [figures[kind, column] for column in columns]
        print(f"| {kind} | " + " | ".join(f"{statistics.median(cell):.0f} ({min(cell):.0f} to {max(cell):.0f})"
                                           for cell in cells) + " |")


if __name__ == "__main__":
    main()
