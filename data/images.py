"""Images in memory, and changes of their format."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as transforms


@dataclass(frozen=True)
class Images:
    """A data set's split in memory."""

    pixels: Tensor  # uint8 [N, 3, H, W]
    labels: Tensor  # int64 [N]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()  # on what was left out when it was loaded, a line each

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def take(self, positions: Tensor) -> "Images":
        """The images at these positions."""
        return Images(self.pixels[positions], self.labels[positions], self.classes)

    def first(self, count: int) -> Tensor:
        """uint8 [count, 3, H, W]."""
        return self.pixels[:count]

    def batches(self, batch_size: int) -> Iterable[Tensor]:
        """All images in order, uint8 [B, 3, H, W]."""
        return self.pixels.split(batch_size)


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [..., 3, H, W] at another (height, width), bilinear with antialiasing."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return transforms.resize(pixels, list(size), antialias=True)


def resize_and_center_crop(pixels: Tensor, size: tuple[int, int], margin: int = 0) -> Tensor:
    """uint8 [..., 3, H, W] at another (height, width): resized without distortion, then cropped.

    The resized images just cover `size` with each of its sides longer by `margin`: one side fits
    exactly. The other side is rounded down, as torchvision's `Resize` rounds it. The crop is the
    centre.
    """
    height, width = pixels.shape[-2:]
    least_height, least_width = size[0] + margin, size[1] + margin
    if least_height * width >= least_width * height:  # the height fits exactly
        scaled = least_height, least_height * width // height
    else:
        scaled = least_width * height // width, least_width
    return transforms.center_crop(resize(pixels, scaled), list(size))


def random_crop(pixels: Tensor, size: tuple[int, int], seed: int) -> Tensor:
    """uint8 [3, H, W] at another (height, width): a part of it, of 8 % to 100 % of its area, 3:4 to
    4:3 before it is resized.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return RandomResizedCrop(size)(pixels)


def coloured(pixels: Tensor) -> Tensor:
    """Which images [N, 3, H, W] carry colour, that is, have channels that differ: bool [N]."""
    return torch.cat([(part != part[:, :1]).flatten(1).any(1) for part in pixels.split(500)])


def is_grey(pixels: Tensor) -> bool:
    """Whether no image [N, 3, H, W] carries colour."""
    return not coloured(pixels).any()


def to_grey(pixels: Tensor) -> Tensor:
    """The luminance of those images [N, 3, H, W] that carry colour, in three equal channels; the
    others as they are.
    """
    chosen = coloured(pixels)
    if chosen.any():
        pixels = pixels.clone()
        pixels[chosen] = transforms.rgb_to_grayscale(pixels[chosen], num_output_channels=3)
    return pixels


def match_format(pixels: Tensor, reference: Tensor, margin: int = 0) -> Tensor:
    """Images in a reference's format: its size, and grey where it is, so that neither gives an
    image away.
    """
    pixels = resize_and_center_crop(pixels, tuple(reference.shape[-2:]), margin)
    return to_grey(pixels) if is_grey(reference) else pixels


def channel_statistics(batches: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels in [0, 1], with a floor of 1/255 on the latter
    (constant channels).
    """
    # A histogram of the 256 values is exact and needs no float copy of the images.
    counts = sum(
        torch.stack([torch.bincount(part.flatten(), minlength=256) for part in b.transpose(0, 1)])
        for b in batches
    )
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(1, keepdim=True).double()
    mean = share @ values
    std = (share @ values**2 - mean**2).clamp_min(0).sqrt().clamp_min(1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())
