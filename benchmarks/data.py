#!/usr/bin/env python3
"""Random crop, flip and normalisation: batched on tensors, against the usual DataLoader of PIL
transforms, one thread each.
"""

import torch

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from data.sources import entry_of
from utils.runtime import find_device

from .common import in_turns, pictures, show, start, usual_loader

BATCH = 64


def main(device: str = "cpu", images: int = 2048, repeats: int = 9) -> None:
    """Print the microseconds an image takes either way, and their ratio."""
    torch.set_num_threads(1)
    where, entry = find_device(device), entry_of("cifar10")
    pixels, labels = pictures(images)
    usual = usual_loader(pixels, labels, BATCH)
    in_memory = Images(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels), ()
    )
    ours = TrainingBatches(
        in_memory, Normalizer(entry.mean, entry.std, where), BATCH, 4, True, where
    )
    sides = {
        "DataLoader of PIL transforms": lambda: [None for _ in usual],
        "TrainingBatches": lambda: [None for _ in ours.epoch(torch.Generator())],
    }
    taken = {name: seconds / images * 1e6 for name, seconds in in_turns(sides, repeats).items()}
    slowest = max(taken.values())
    rows = [
        {"way": name, "µs an image": f"{each:.1f}", "ratio": f"{slowest / each:.1f}"}
        for name, each in taken.items()
    ]
    show(
        f"Random crop, flip and normalisation of {images} images, 32×32, batches of {BATCH}",
        where,
        rows,
    )


if __name__ == "__main__":
    start(main, __doc__)
