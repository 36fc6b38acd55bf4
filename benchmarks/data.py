#!/usr/bin/env python3
"""Random crop, flip and normalisation: batched on tensors, against the usual DataLoader of PIL transforms, one thread each."""

import torch
import tyro
from torch.utils.data import DataLoader
from torchvision import transforms

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from utils.runtime import find_device

from .common import in_turns, show

MEAN, STD = (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)


def main(device: str = "cpu", images: int = 2048, repeats: int = 9) -> None:
    """Print the microseconds an image takes either way, and their ratio."""
    torch.set_num_threads(1)
    where = find_device(device)
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8)
    ours = Images(pixels, torch.zeros(images, dtype=torch.int64), ())
    ours = TrainingBatches(ours, Normalizer(MEAN, STD, where), 64, 4, True, where)
    crop, flip = transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()
    # To PIL first, as torchvision's CIFAR does with each image it is asked for.
    usual = transforms.Compose([transforms.ToPILImage(), crop, flip, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    loader = DataLoader(list(pixels), 64, shuffle=True, collate_fn=lambda batch: torch.stack([usual(image) for image in batch]))
    sides = {
        "DataLoader of PIL transforms": lambda: [None for _ in loader],
        "TrainingBatches": lambda: [None for _ in ours.epoch(torch.Generator())],
    }
    taken = {name: seconds / images * 1e6 for name, seconds in in_turns(sides, repeats).items()}
    slowest = max(taken.values())
    rows = [{"way": name, "µs an image": f"{each:.1f}", "ratio": f"{slowest / each:.1f}"} for name, each in taken.items()]
    show(f"Random crop, flip and normalisation of {images} images, 32×32, batches of 64", where, rows)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
