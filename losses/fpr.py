"""FPR, fractional probability regularization (arXiv 2205.05874): 2×2 mosaics of images, and the
classes of their quadrants.

The first half of a batch, rounded down, stays plain. The second half becomes mosaics. A mosaic
keeps the top-left quadrant of its own image. Its bottom-left, top-right and bottom-right quadrants
come from the images 1, 2 and 3 places before it (the half is rolled by 1, 2 and 3).
"""

import torch
from torch import Tensor

from .common import one_hot

SOURCES = 4  # images that make one mosaic
NO_CLASS = -(2**31)  # marks a plain image; data sets use -1 and -100, but not this number
SMALLEST_BATCH = 2 * SOURCES - 1  # 7: its second half has the 4 images that a mosaic needs


def check_batch(inputs: Tensor, targets: Tensor) -> None:
    """Check that a batch is of images [B, channels, H, W] with class indices [B].

    Raises:
        TypeError: for inputs or targets that are no tensors.
        RuntimeError: for targets [B, 4], as of a batch that was mixed already.
        ValueError: for other shapes, and for targets that are not integers.
    """
    advice = "make the criterion with regularization=None"
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor):
        raise TypeError(
            "FPR takes a tensor of images and one of class indices, got "
            f"{type(inputs).__name__} and {type(targets).__name__}: for other inputs, {advice}"
        )
    if targets.shape == (len(inputs), SOURCES) and not targets.is_floating_point():
        raise RuntimeError(
            f"targets [B, {SOURCES}] are those of a batch that was preprocessed already, or "
            f"one-hot labels of {SOURCES} classes: keep preprocess's outputs under names of their "
            "own, and give it class indices [B]"
        )
    if inputs.ndim < 4:
        raise ValueError(
            f"FPR mixes images [B, channels, H, W], got {list(inputs.shape)}: for other inputs, "
            f"{advice}"
        )
    if targets.shape != inputs.shape[:1] or targets.is_floating_point():
        raise ValueError(
            f"FPR takes class indices [{len(inputs)}], got {targets.dtype} "
            f"{list(targets.shape)}: with soft labels, as of mixup, {advice}"
        )


def plain_count(batch_size: int) -> int:
    """Return how many images of a batch stay plain: half, rounded down, or all of a batch under
    7.
    """
    return batch_size // 2 if batch_size >= SMALLEST_BATCH else batch_size


def mosaics(images: Tensor) -> Tensor:
    """Return mosaics [M, channels, H, W] of images of that shape.

    Raises:
        ValueError: if the height or width is odd, since the quadrants' shares would differ from
            those of the targets; or if there are fewer than four images, since a mosaic would
            repeat one.
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


def quadrant_classes(targets: Tensor) -> Tensor:
    """Return the classes [B, 4] of the quadrants of a batch whose second half becomes mosaics.

    A plain image has its own class first, then `NO_CLASS` three times. A mosaic has its own class
    first, then those of the images 1, 2 and 3 places before it.

    Args:
        targets: class indices [B] of the batch before it is mixed.
    """
    plain, mixed = targets.long().tensor_split([plain_count(len(targets))])
    rolled = torch.stack([mixed.roll(places) for places in range(SOURCES)], dim=1)
    marked = torch.nn.functional.pad(plain[:, None], (0, SOURCES - 1), value=NO_CLASS)
    return torch.cat([marked, rolled])


def is_whole(classes: Tensor) -> Tensor:
    """Return whether classes [B, 4] are those of a whole batch in its order, as a bool scalar."""
    positions = torch.arange(len(classes), device=classes.device)
    is_plain = classes[:, 1] == NO_CLASS
    return (is_plain == (positions < plain_count(len(classes)))).all()


def fractional_targets(classes: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Return the probabilities q [M, C] of mosaics: a quarter for each of the four classes [M, 4].

    A class that occurs several times gets the sum of its quarters.

    Raises ValueError for classes of another shape.
    """
    if classes.ndim != 2 or classes.shape[1] != SOURCES:
        raise ValueError(f"the classes of mosaics are [M, {SOURCES}], got {list(classes.shape)}")
    quarters = one_hot(classes.flatten(), num_classes, dtype) / SOURCES
    return quarters.view(-1, SOURCES, num_classes).sum(1)
