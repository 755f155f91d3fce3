"""PyTorch's DataLoader over the images of image_folder_bench, on one core: with PIL, and with torchvision's v2
transforms on tensors where it has them (0.15 and later). Prints a JSON object a line.

Usage: image_folder_bench.py FOLDER [SECONDS]
"""
import json
import sys
import time

import PIL
import torch
import torchvision
from torchvision import transforms

torch.set_num_threads(1)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pil(jitter):
    return None, transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()] +
        ([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)] if jitter else []) +
        [transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def read(path):
    return torchvision.io.read_image(path, torchvision.io.ImageReadMode.RGB)


def v2(jitter):
    from torchvision.transforms import v2
    return read, v2.Compose(
        [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()] +
        ([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)] if jitter else []) +
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def rate(what, made, folder, seconds):
    loader, transform = made
    dataset = torchvision.datasets.ImageFolder(folder, transform,
                                               **({"loader": loader} if loader else {}))
    images, begin = 0, None
    while begin is None or time.process_time() < begin + seconds:
        for batch, _ in torch.utils.data.DataLoader(dataset, 32, shuffle=True, num_workers=0):
            if begin is None:  # the first batch warms up
                begin = time.process_time()
                continue
            images += len(batch)
    print(json.dumps({"what": what, "images_per_second_of_a_core": round(images / (time.process_time() - begin), 1),
                      "torch": torch.__version__, "torchvision": torchvision.__version__, "PIL": PIL.__version__}),
          flush=True)


def main():
    folder, seconds = sys.argv[1] + "/train", float(sys.argv[2]) if len(sys.argv) > 2 else 5
    for jitter in (False, True):
        name = "random resized crop, flip" + (", colour jitter" if jitter else "")
        rate("PIL: " + name, pil(jitter), folder, seconds)
        if hasattr(transforms, "v2"):
            rate("v2: " + name, v2(jitter), folder, seconds)


if __name__ == "__main__":
    try:
        from torchvision.transforms import v2 as _  # noqa: F401
    except ImportError:
        print("torchvision has no v2 transforms: 0.15 or later has", file=sys.stderr)
    main()
