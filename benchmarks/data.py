#!/usr/bin/env python3
"""Compares the speed of augmentation: whole batches of tensors, against PIL images in a DataLoader.

Each way crops, flips and normalises, in one thread.
"""

import torch

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from utils.runtime import find_device

from .common import in_turns, pictures, show, start, usual_loader

BATCH = 64


def main(device: str = "cpu", images: int = 2048, repeats: int = 9) -> None:
    """Print the microseconds per image of both ways, and their ratio."""
    torch.set_num_threads(1)
    where = find_device(device)
    pixels, labels = pictures(images)
    loader = usual_loader(pixels, labels, BATCH)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    in_memory = Images(tensor, torch.from_numpy(labels), ())
    normalize = Normalizer((0.5,) * 3, (0.25,) * 3, where)
    batches = TrainingBatches(in_memory, normalize, BATCH, 4, True, where)

    def epoch() -> None:
        rows = batches.draw(torch.Generator()).rows
        for row, count in zip(rows, batches.shares, strict=True):
            batches.batch(row[:, :count])

    sides = {
        "DataLoader of PIL transforms": lambda: [None for _ in loader],
        "TrainingBatches": epoch,
    }
    seconds = in_turns(sides, repeats)
    slowest = max(seconds.values())
    rows = [
        {
            "way": name,
            "µs an image": f"{duration / images * 1e6:.1f}",
            "ratio": f"{slowest / duration:.1f}",
        }
        for name, duration in seconds.items()
    ]
    show(
        f"Random crop, flip and normalisation of {images} images, 32×32, batches of {BATCH}",
        where,
        rows,
    )


if __name__ == "__main__":
    start(main, __doc__)
