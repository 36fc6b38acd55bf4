"""Batches made on the device: whole batches are shuffled, cropped, flipped and normalised as
tensors.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from .streaming import ImageFiles, ImageSet, fitting


class Normalizer:
    """uint8 images to float32, (x/255 - mean)/std a channel; channels last in memory."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device):
        self.shift = 255 * torch.tensor(mean, dtype=torch.float32).to(device)
        self.scale = 255 * torch.tensor(std, dtype=torch.float32).to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        batch, channels, height, width = pixels.shape
        # Whole rows at a time: on a CPU, four times as fast as broadcasting over three channels.
        rows = pixels.permute(0, 2, 3, 1).reshape(batch, height, width * channels).float()
        rows.sub_(self.shift.repeat(width)).div_(self.scale.repeat(width))
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def windows(pixels: Tensor, padding: int) -> Tensor:
    """Every window there is of uint8 images [N, 3, H, W] padded with black: [N, shifts, shifts, 3,
    H, W].

    All are views of one padded copy (1.6 times the images' bytes at 32 pixels and a padding of 4),
    channels last in memory: an indexed window is then copied row by row.
    """
    padded = torch.nn.functional.pad(pixels, (padding,) * 4).permute(0, 2, 3, 1).contiguous()
    return padded.unfold(1, pixels.shape[2], 1).unfold(2, pixels.shape[3], 1)


@dataclass(frozen=True)
class Plan:
    """An epoch, drawn before its first step.

    rows: int64 [steps, 4, B], on the device. For each image of a step, a row has its position in
        the set, its offsets from the top and from the left of the padded image, and whether it is
        mirrored (0 or 1). B is this process's share of a whole batch. The row of a shorter batch
        ends with zeros. seeds: of the images' random crops, int64 [B] for each step; None for each
        step of a set without random crops.
    """

    rows: Tensor
    seeds: list[Tensor] | list[None]


class TrainingBatches:
    """A training set's augmented batches, made on the device.

    Every image is shifted by up to `padding` pixels each way over black (a random crop of the
    padded image) and, with `flip`, mirrored with probability ½; each image has its own offsets. The
    last batch may be smaller, but not of less than two images a process (batch norm cannot
    normalise one): then the epoch does without its last images, others each time.

    A set in memory lives on the device as a whole; one in files is decoded a batch at a time. The
    batches are the same, but that files can be of any size: the images are then random crops before
    they are shifted.

    Args:
        images: the training set.
        normalize: maps a uint8 batch to the network's inputs.
        batch_size: images a batch.
        padding: pixels on each side.
        flip: whether to mirror.
        device: where the batches are made.
        processes: that take a share of each batch.
        share: gives this process's of so many images; all of them by default.
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
        self.sizes = [batch_size] * whole + [tail] * (tail >= 2 * processes)
        # Of each step, the images that this process takes.
        self.shares = [len(range(size)[share(size)]) for size in self.sizes]
        self.share, self.labels = share, images.labels.to(device)
        self.normalize, self.batch_size, self.padding, self.flip = (
            normalize,
            batch_size,
            padding,
            flip,
        )
        self.files = images if isinstance(images, ImageFiles) else None
        self.windows = windows(images.pixels.to(device), padding) if self.files is None else None

    def draw(self, generator: torch.Generator) -> Plan:
        """An epoch's plan, from a CPU generator.

        One transfer to the device, so that no step waits for the host.
        """
        # For all images, so that what is drawn depends neither on how many are left out at the end
        # nor on the processes.
        count, shifts = len(self.labels), 2 * self.padding + 1
        drawn = (
            torch.randperm(count, generator=generator),
            *torch.randint(shifts, (2, count), generator=generator),
            (torch.rand(count, generator=generator) < (0.5 if self.flip else 0)).long(),
        )
        rows = torch.zeros(
            len(self.sizes), len(drawn), max(self.shares, default=0), dtype=torch.int64
        )
        for row, part in zip(rows, self._shared(torch.stack(drawn)), strict=True):
            row[:, : part.shape[1]] = part
        # The seeds of random crops are drawn last, so that all else is the same for sets without
        # crops.
        crops = self.files is not None and self.files.crops
        seeds = (
            self._shared(torch.randint(2**63 - 1, (count,), generator=generator))
            if crops
            else [None] * len(rows)
        )
        return Plan(rows.to(self.labels.device), seeds)

    def _shared(self, values: Tensor) -> list[Tensor]:
        """Values of all images [..., N], cut into the shares of this process, one a step."""
        return [
            batch[..., self.share(batch.shape[-1])]
            for batch in values[..., : sum(self.sizes)].split(self.sizes, dim=-1)
        ]

    def decoded(self, plan: Plan, start: int = 0) -> Iterator[Tensor | None]:
        """The images of each step from `start` on, uint8 on the host, if they are in files; None
        for each step if in memory.
        """
        if self.files is None:
            yield from repeat(None, len(self.sizes) - start)
            return
        chosen = [row[0, :count] for row, count in zip(plan.rows.cpu(), self.shares, strict=True)]
        yield from self.files.read(chosen[start:], plan.seeds[start:])

    def batch(self, row: Tensor, pixels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step's inputs float32 [B, 3, H, W] and targets int64 [B], by operations on the device
        alone.

        Args:
            row: [4, B], as in a `Plan`.
            pixels: as `decoded` gives them.
        """
        chosen, top, left, mirror = row
        each = torch.arange(row.shape[1], device=row.device)
        if pixels is None:
            crops = self.windows[chosen, top, left]
        else:
            crops = windows(pixels.to(row.device, non_blocking=True), self.padding)[each, top, left]
        crops = crops.permute(0, 2, 3, 1)  # as they lie in memory
        # Choosing whole images of these is faster than torch.where.
        both = torch.cat([crops, crops.flip(2)])
        crops = both.index_select(0, each + row.shape[1] * mirror)
        return self.normalize(crops.permute(0, 3, 1, 2)), self.labels[chosen]

    def epoch(self, generator: torch.Generator, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of an epoch's batches, from step `start` on: inputs and targets as
        `batch` gives them.
        """
        plan = self.draw(generator)
        rows = zip(plan.rows[start:], self.shares[start:], strict=True)
        # The decoded images come first in `zip`, so that their workers stop here: a destructor
        # would swallow a Ctrl-C.
        for pixels, (row, count) in zip(self.decoded(plan, start), rows, strict=True):
            yield self.batch(row[:, :count], pixels)


def plain_batches(
    images: ImageSet, normalize: Normalizer, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """A data set's images in order and as they are, normalised: float32 [B, 3, H, W]; of large ones
    fewer at a time.
    """
    for batch in images.batches(fitting(batch_size, images.size)):
        yield normalize(batch.to(device))
