"""FPR, fractional probability regularization (arXiv 2205.05874): 2×2 mosaics of images, and what
their targets are.

Half of a batch becomes mosaics. A mosaic's top-left quadrant is its own image's. Its bottom-left,
top-right and bottom-right quadrants are those of the images 1, 2 and 3 places before it in the half
(the half rolled by 1, 2 and 3).
"""

import torch
from torch import Tensor

from .targets import one_hot

SOURCES = 4  # images a mosaic is made of


def mosaics(images: Tensor) -> Tensor:
    """Mosaics [M, channels, H, W] of images of that shape.

    Raises ValueError for an odd height or width (the quadrants' shares would differ from the
    targets') and for fewer than four images (a mosaic would repeat one).
    """
    count, (height, width) = len(images), images.shape[-2:]
    if height % 2 or width % 2:
        raise ValueError(
            f"FPR needs images of even height and width, got {height}×{width}: resize or pad them"
        )
    if count < SOURCES:
        raise ValueError(f"FPR makes mosaics of {SOURCES} different images, got {count}")
    top, left = slice(None, height // 2), slice(None, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    mixed = images.clone()
    for places, quadrant in ((1, (bottom, left)), (2, (top, right)), (3, (bottom, right))):
        mixed[..., *quadrant] = images[..., *quadrant].roll(places, dims=0)
    return mixed


def fractional_targets(targets: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """q [M, C]: a quarter of each mosaic's probability to each of its four images' classes;
    repeated classes add up.

    `targets` [M] are the class indices of the half before it was mixed.
    """
    own = one_hot(targets, num_classes, dtype)
    return sum((own.roll(places, dims=0) for places in range(1, SOURCES)), own) / SOURCES
