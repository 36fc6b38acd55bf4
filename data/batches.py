"""Makes batches on the device: shuffles, crops, flips and normalises whole batches as tensors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from .streaming import ImageFiles, ImageSet, limit_batch


class Normalizer:
    """Converts uint8 images to float32: (x/255 - mean)/std for each channel.

    The result is channels last in memory.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device):
        self.shift = 255 * torch.tensor(mean, dtype=torch.float32).to(device)
        self.scale = 255 * torch.tensor(std, dtype=torch.float32).to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        batch, channels, height, width = pixels.shape
        # Operations on whole rows: on a CPU, four times as fast as broadcasting over 3 channels.
        rows = pixels.permute(0, 2, 3, 1).reshape(batch, height, width * channels).float()
        rows.sub_(self.shift.repeat(width)).div_(self.scale.repeat(width))
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def windows(pixels: Tensor, padding: int) -> Tensor:
    """Return all crops of padded uint8 images [N, 3, H, W]: [N, shifts, shifts, 3, H, W].

    The padding is black, and shifts = 2 * padding + 1. All crops are views of one padded copy (1.6
    times the images' bytes at 32 pixels and a padding of 4), which is channels last in memory: an
    indexed crop is then copied row by row.
    """
    padded = torch.nn.functional.pad(pixels, (padding,) * 4).permute(0, 2, 3, 1).contiguous()
    return padded.unfold(1, pixels.shape[2], 1).unfold(2, pixels.shape[3], 1)


@dataclass(frozen=True)
class Plan:
    """The random choices of an epoch, made before its first step.

    Args:
        rows: int64 [steps, 4, B], on the device. For each image of a step: its position in the set,
            its offsets from the top and from the left of the padded image, and whether it is
            mirrored (0 or 1). B is this process's share of a whole batch. The row of a shorter
            batch ends with zeros.
        seeds: of the images' random crops, int64 [B] for each step; None for each step of a set
            without random crops.
    """

    rows: Tensor
    seeds: list[Tensor] | list[None]


class TrainingBatches:
    """A training set's augmented batches, made on the device.

    Each image is padded with black and then cropped at random. If `flip` is set, it is mirrored
    with probability ½. Each image has its own offsets. The last batch may be smaller. It is left
    out if it has less than two images for each process, since batch norm cannot normalise one
    image. In each epoch other images are left out.

    A set in memory is copied to the device as a whole. A set in files is decoded batch by batch.
    Both give the same batches. Only images in files may differ in size. In such a set, a random
    crop brings each image to the set's size before the padding.

    Args:
        images: the training set.
        normalize: maps a uint8 batch to the network's inputs.
        batch_size: images in a batch of all processes.
        padding: pixels on each side.
        flip: whether to mirror.
        device: where the batches are made.
        processes: number of processes that share each batch.
        share: returns this process's slice of a number of images; the default is all of them.
    """

    def __init__(
        self,
        images: ImageSet,
        normalize: Normalizer,
        batch_size: int,
        padding: int,
        flip: bool,
        device: torch.device,
        processes: int = 1,
        share: Callable[[int], slice] = slice,
    ):
        whole, tail = divmod(len(images), batch_size)
        self.sizes = [batch_size] * whole  # of each step's batch
        if tail >= 2 * processes:
            self.sizes.append(tail)
        # Number of images that this process takes at each step.
        self.shares = [len(range(size)[share(size)]) for size in self.sizes]
        self.share = share
        self.labels = images.labels.to(device)
        self.normalize = normalize
        self.batch_size = batch_size
        self.padding = padding
        self.flip = flip
        self.files = images if isinstance(images, ImageFiles) else None
        if isinstance(images, ImageFiles):
            self.windows = torch.empty(0)  # not used
        else:
            self.windows = windows(images.pixels.to(device), padding)

    def draw(self, generator: torch.Generator) -> Plan:
        """Return the plan of an epoch, from a CPU generator.

        It is copied to the device at once, so that no step waits for the host.
        """
        # Numbers are drawn for all images. So they depend neither on how many images are left out
        # at the end, nor on the number of processes.
        count = len(self.labels)
        order = torch.randperm(count, generator=generator)
        top, left = torch.randint(2 * self.padding + 1, (2, count), generator=generator)
        mirror = torch.rand(count, generator=generator) < (0.5 if self.flip else 0)
        steps = self._shared(torch.stack([order, top, left, mirror.long()]))
        rows = torch.zeros(len(steps), 4, max(self.shares, default=0), dtype=torch.int64)
        for row, values in zip(rows, steps, strict=True):
            row[:, : values.shape[1]] = values
        # The seeds of random crops are drawn last: all other numbers are then the same for a set
        # without random crops.
        seeds: list[Tensor] | list[None] = [None] * len(rows)
        if self.files is not None and self.files.crops:
            seeds = self._shared(torch.randint(2**63 - 1, (count,), generator=generator))
        return Plan(rows.to(self.labels.device), seeds)

    def _shared(self, values: Tensor) -> list[Tensor]:
        """Return this process's share of each step, from values of all images [..., N]."""
        return [
            batch[..., self.share(batch.shape[-1])]
            for batch in values[..., : sum(self.sizes)].split(self.sizes, dim=-1)
        ]

    def decoded(self, plan: Plan, start: int = 0) -> Iterator[Tensor | None]:
        """Yield the images of each step from `start` on: uint8, on the host.

        For a set in memory, yield None for each step.
        """
        if self.files is None:
            yield from repeat(None, len(self.sizes) - start)
            return
        positions = [
            row[0, :count] for row, count in zip(plan.rows.cpu(), self.shares, strict=True)
        ]
        yield from self.files.read(positions[start:], plan.seeds[start:])

    def batch(self, row: Tensor, pixels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return one step's inputs, float32 [B, 3, H, W], and targets, int64 [B].

        All operations run on the device.

        Args:
            row: [4, B], as in a `Plan`.
            pixels: as from `decoded`.
        """
        positions, top, left, mirror = row
        indices = torch.arange(row.shape[1], device=row.device)
        if pixels is None:
            crops = self.windows[positions, top, left]
        else:
            pixels = pixels.to(row.device, non_blocking=True)
            crops = windows(pixels, self.padding)[indices, top, left]
        crops = crops.permute(0, 2, 3, 1)  # the order in memory
        # To select whole images from both is faster than torch.where.
        both = torch.cat([crops, crops.flip(2)])
        crops = both.index_select(0, indices + row.shape[1] * mirror)
        return self.normalize(crops.permute(0, 3, 1, 2)), self.labels[positions]


def plain_batches(
    images: ImageSet, normalize: Normalizer, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield a set's images in order, only normalised: float32 [B, 3, H, W].

    Batches of large images are smaller than `batch_size`.
    """
    for batch in images.batches(limit_batch(batch_size, images.size)):
        yield normalize(batch.to(device))
