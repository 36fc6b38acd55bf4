"""Chooses images of a set at random. The choice is the same in every run."""

import math

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from .folders import some
from .streaming import ImageSet


def hold_out(
    images: ImageSet,
    share: float,
    purpose: str = "validation",
    otherwise: str = "--protocol paper",
) -> tuple[ImageSet, ImageSet]:
    """Return a set without a stratified share of its images, and that share.

    The split is the same for every run and seed.

    Args:
        images: the set.
        share: the part to hold out; the count is rounded up, and at least the number of classes.
        purpose: what the held-out images are for, as the error says it.
        otherwise: another remedy, as the error says it.

    Raises ValueError if a class has one image only.
    """
    numbers, counts = images.labels.unique(return_counts=True)
    if rare := numbers[counts == 1].tolist():
        names = some(images.classes[number] if images.classes else str(number) for number in rare)
        raise ValueError(
            f"cannot hold out images for {purpose} ({names}: one image only): take more images, "
            f"or {otherwise}"
        )
    count = max(math.ceil(share * len(images)), len(numbers))  # one image of each class
    remaining, held_out = train_test_split(
        np.arange(len(images)), test_size=count, stratify=images.labels, random_state=0
    )
    return images.take(torch.from_numpy(remaining)), images.take(torch.from_numpy(held_out))


def limited(count: int, limit: int | None) -> Tensor:
    """Return the positions, in order, of at most `limit` of `count` images.

    They are always the same ones, chosen at random from the whole set.
    """
    if limit is None or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:limit].sort().values
