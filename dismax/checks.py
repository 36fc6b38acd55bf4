"""Checks what a detector is made from, and the images that it gets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Pixels may leave [0, 1] by this much after resizing or in half precision: half a step of uint8.
ROUNDING = 1 / 510


def check_images(images: Tensor, channels: int) -> None:
    """Raises ValueError for a type or shape that images with so many channels cannot have."""
    if not isinstance(images, Tensor):
        raise ValueError(f"a detector takes a tensor of images, got {type(images).__name__}")
    if images.dtype != torch.uint8 and images.dtype not in FLOATS:
        raise ValueError(
            f"a detector takes images of uint8, or of floats in [0, 1], got {images.dtype}"
        )
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape[2:]:
        raise ValueError(
            f"this detector takes images [B, {channels}, H, W], got {list(images.shape)}"
        )


def check_size(images: Tensor, size: tuple[int, int] | None) -> None:
    """Raises ValueError for images [B, C, H, W] of another (height, width), if one is known."""
    if size is not None and tuple(images.shape[2:]) != tuple(size):
        height, width = size
        raise ValueError(
            f"this detector takes images of {height}×{width} pixels (height, width), got "
            f"{images.shape[2]}×{images.shape[3]}: resize them to cover these and crop their "
            "centre, or set detector.size = None to let the network see another size"
        )


def pair(size: Sequence[int]) -> tuple[int, int]:
    """Return a (height, width). Raises ValueError for what is none."""
    if (
        not isinstance(size, Sequence)
        or len(size) != 2
        or not all(isinstance(side, int) and side > 0 for side in size)
    ):
        raise ValueError(f"size is (height, width), each 1 or more, got {size!r:.80}")
    return size[0], size[1]


def check_range(images: Tensor) -> Tensor | None:
    """Check that all pixels of float images [B, C, H, W] lie in [0, 1].

    Returns None. A graph that is compiled, exported or traced cannot raise an error that depends on
    values; there this returns which images are in the range, bool [B].

    Raises ValueError for pixels outside [0, 1].
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return ((images >= -ROUNDING) & (images <= 1 + ROUNDING)).flatten(1).all(1)
    if images.numel():
        low, high = torch.stack(images.detach().aminmax()).tolist()
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # true for NaN
            raise ValueError(
                f"a detector takes floats in [0, 1], got {low:.4g} to {high:.4g}: give it 0 to 255 "
                "as uint8, and images as they are before any normalisation, which it does itself"
            )
    return None


def normalization(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return mean and std as tensors, float32 [C, 1, 1] each.

    Raises ValueError for numbers that cannot be the mean and std of pixels in [0, 1].
    """
    try:
        means, stds = (
            torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std)
        )
        if (
            len(means) == len(stds) > 0
            and ((means >= 0) & (means <= 1) & (stds > 0) & stds.isfinite()).all()
        ):
            return means, stds
    except (TypeError, ValueError, RuntimeError):
        pass  # not numbers
    raise ValueError(
        "mean and std are a number for each channel, of pixels in [0, 1], got "
        f"{mean!r:.80} and {std!r:.80}"
    )


def check_names(names: Sequence[str], num_classes: int) -> tuple[str, ...]:
    """Return the classes' names as a tuple.

    Raises ValueError if they are not text, or if there is not one for each class.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names are a list of str, got {names!r:.80}")
    if len(names) not in (0, num_classes):
        raise ValueError(f"the head has {num_classes} classes, got {len(names)} class_names")
    return tuple(names)
