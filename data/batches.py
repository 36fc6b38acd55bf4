"""Batches made on the device: whole batches are shuffled, cropped, flipped and normalised as tensors."""

from collections.abc import Callable, Iterator, Sequence
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
    """Every window there is of uint8 images [N, 3, H, W] padded with black: [N, shifts, shifts, 3, H, W].

    All are views of one padded copy (1.6 times the images' bytes at 32 pixels and a padding of 4), channels last in memory: an
    indexed window is then copied row by row.
    """
    padded = torch.nn.functional.pad(pixels, (padding,) * 4).permute(0, 2, 3, 1).contiguous()
    return padded.unfold(1, pixels.shape[2], 1).unfold(2, pixels.shape[3], 1)


class TrainingBatches:
    """A training set's augmented batches, made on the device.

    Every image is shifted by up to `padding` pixels each way over black (a random crop of the padded image) and, with `flip`,
    mirrored with probability ½; each image has its own offsets. The last batch may be smaller, but not of less than two images
    a process (batch norm cannot normalise one): then the epoch does without its last images, others each time.

    A set in memory lives on the device as a whole; one in files is decoded a batch at a time. The batches are the same, but that
    files can be of any size: the images are then random crops before they are shifted.

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
        self.share = share
        self.labels = images.labels.to(device)
        self.normalize, self.batch_size, self.padding, self.flip = normalize, batch_size, padding, flip
        if isinstance(images, ImageFiles):
            self.files = images
        else:
            self.files, self.windows = None, windows(images.pixels.to(device), padding)

    def epoch(self, generator: torch.Generator, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches (inputs float32 [B, 3, H, W], targets int64 [B]) from one on, drawn from a CPU generator.

        The whole epoch is drawn before its first step: one transfer, and no step waits for the host. `sizes` are those of the whole
        batches, of which a process gets its share.
        """
        count, shifts, device = len(self.labels), 2 * self.padding + 1, self.labels.device
        # Drawn for all images, so that however many are left out at the end, and so however many processes there are, the rest is
        # the same.
        drawn = (
            torch.randperm(count, generator=generator),
            *torch.randint(shifts, (2, count), generator=generator),
            torch.rand(count, generator=generator) < (0.5 if self.flip else 0),
        )

        def shares(values: Tensor) -> list[Tensor]:
            return [batch[self.share(len(batch))] for batch in values[: sum(self.sizes)].split(self.sizes)[start:]]

        plan = [shares(part.to(device)) for part in drawn]
        decoded = repeat(None)
        if self.files is not None:
            # The seeds of random crops are drawn last, so that they change nothing for sets without.
            seeds = shares(torch.randint(2**63 - 1, (count,), generator=generator)) if self.files.crops else repeat(None)
            decoded = self.files.read(shares(drawn[0]), seeds)
        # The decoded first, so that they end the loop and with it their processes; dropped before their end, they would do so in a
        # destructor, where a Ctrl-C is lost.
        for pixels, chosen, top, left, mirror in zip(decoded, *plan, strict=False):
            each = torch.arange(len(chosen), device=device)
            if pixels is None:
                crops = self.windows[chosen, top, left]
            else:
                crops = windows(pixels.to(device, non_blocking=True), self.padding)[each, top, left]
            crops = crops.permute(0, 2, 3, 1)  # as they lie in memory
            both = torch.cat([crops, crops.flip(2)])  # choosing whole images of these is faster than torch.where
            crops = both.index_select(0, each + len(each) * mirror)
            yield self.normalize(crops.permute(0, 3, 1, 2)), self.labels[chosen]


def plain_batches(images: ImageSet, normalize: Normalizer, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """A data set's images in order and as they are, normalised: float32 [B, 3, H, W]; of large ones fewer at a time."""
    for batch in images.batches(fitting(batch_size, images.size)):
        yield normalize(batch.to(device))
