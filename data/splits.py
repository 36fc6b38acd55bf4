"""Chooses images of a set at random. The choice is the same in every run."""

import math

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

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
        share: the part to hold out; the count is rounded up.
        purpose: what the held-out images are for, as the error says it.
        otherwise: another remedy, as the error says it.

    Raises ValueError if a class has fewer than two images, or if the share has fewer images than
    there are classes.
    """
    count = math.ceil(share * len(images))
    try:
        remaining, held_out = train_test_split(
            np.arange(len(images)), test_size=count, stratify=images.labels, random_state=0
        )
    except ValueError as error:
        reason = str(error).split(".")[0]
        raise ValueError(
            f"cannot hold out {count} of {len(images)} images for {purpose} ({reason}): take more "
            f"images, or {otherwise}"
        ) from error
    return images.take(torch.from_numpy(remaining)), images.take(torch.from_numpy(held_out))


def limited(count: int, limit: int | None) -> Tensor:
    """Return the positions, in order, of at most `limit` of `count` images.

    They are always the same ones, chosen at random from the whole set.
    """
    if limit is None or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:limit].sort().values
