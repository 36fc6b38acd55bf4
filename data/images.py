"""Images in memory, and functions that change their format."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomResizedCrop, functional

EVALUATION_BATCH = 500  # images at a time if they are evaluated, or only read


@dataclass(frozen=True)
class Images:
    """A split of a data set, in memory."""

    pixels: Tensor  # uint8 [N, 3, H, W]
    labels: Tensor  # int64 [N]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()  # lines that say what was left out when it was loaded

    def __post_init__(self):
        check_pixels(self.pixels)
        if self.labels.shape != (len(self.pixels),):
            raise ValueError(
                f"{len(self.pixels)} images need labels [{len(self.pixels)}], got "
                f"{list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def take(self, positions: Tensor) -> "Images":
        """Return the images at these positions."""
        return Images(self.pixels[positions], self.labels[positions], self.classes)

    def first(self, count: int) -> Tensor:
        """Return the first images, uint8 [count, 3, H, W]."""
        return self.pixels[:count]

    def batches(self, batch_size: int) -> Iterable[Tensor]:
        """Yield all images in order, uint8 [B, 3, H, W]."""
        return self.pixels.split(batch_size)


def check_pixels(pixels: Tensor) -> None:
    """Raise ValueError for images that are not uint8 [N, 3, H, W]. Floats would look black."""
    right = isinstance(pixels, Tensor) and pixels.dtype == torch.uint8
    if not right or pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ValueError(
            f"images must be a torch tensor, uint8 [N, 3, H, W] from 0 to 255, got "
            f"{type(pixels).__name__} {pixels.dtype} {list(pixels.shape)}: convert them first"
        )


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images, uint8 [..., 3, H, W], resized to (height, width): bilinear, antialiased."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return functional.resize(pixels, list(size), antialias=True)


def resize_and_center_crop(pixels: Tensor, size: tuple[int, int], margin: int = 0) -> Tensor:
    """Return images, uint8 [..., 3, H, W], resized without distortion, then cropped to `size`.

    Each side of the resized image is at least as long as that side of `size` plus `margin`. One
    side has exactly this length. The other side is rounded down, as torchvision's `Resize` does.
    The crop is the centre.
    """
    height, width = pixels.shape[-2:]
    least_height, least_width = size[0] + margin, size[1] + margin
    if least_height * width >= least_width * height:  # the height fits exactly
        resized = least_height, least_height * width // height
    else:
        resized = least_width * height // width, least_width
    return functional.center_crop(resize(pixels, resized), list(size))


def random_crop(pixels: Tensor, size: tuple[int, int], seed: int) -> Tensor:
    """Return a random part of an image, uint8 [3, H, W], resized to (height, width).

    The part has 8 % to 100 % of the area, and an aspect ratio from 3:4 to 4:3.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return RandomResizedCrop(size)(pixels)


def has_colour(pixels: Tensor) -> Tensor:
    """Return which images [N, 3, H, W] have colour, that is, channels that differ: bool [N]."""
    return torch.cat(
        [(batch != batch[:, :1]).flatten(1).any(1) for batch in pixels.split(EVALUATION_BATCH)]
    )


def is_grey(pixels: Tensor) -> bool:
    """Return whether no image [N, 3, H, W] has colour."""
    return not has_colour(pixels).any()


def to_grey(pixels: Tensor) -> Tensor:
    """Return images [N, 3, H, W] with colour replaced by luminance, in three equal channels.

    Images without colour do not change.
    """
    coloured = has_colour(pixels)
    if coloured.any():
        pixels = pixels.clone()
        pixels[coloured] = functional.rgb_to_grayscale(pixels[coloured], num_output_channels=3)
    return pixels


def as_ood(
    pixels: Tensor, reference: Tensor, margin: int = 0, notes: tuple[str, ...] = ()
) -> Images:
    """Return an out-of-distribution set from images [N, 3, H, W]; its labels are -1.

    The images get the format of the reference images: their size, and grey if those are grey.
    Otherwise the format alone would tell the two sets apart.

    Raises ValueError for images of another format.
    """
    check_pixels(pixels)
    height, width = reference.shape[-2:]
    pixels = resize_and_center_crop(pixels, (height, width), margin)
    if is_grey(reference):
        pixels = to_grey(pixels)
    return Images(pixels, torch.full((len(pixels),), -1), (), notes)


def channel_statistics(batches: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, for values in [0, 1].

    A standard deviation is at least 1/255, as for a constant channel.
    """
    # A histogram of the 256 values is exact and needs no float copy of the images.
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for batch in batches:
        for channel, pixels in enumerate(batch.transpose(0, 1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=256)
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(1, keepdim=True).double()
    mean = share @ values
    std = (share @ values**2 - mean**2).clamp_min(0).sqrt().clamp_min(1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())
