"""Batches made on the device: whole batches are shuffled, cropped, flipped and normalised as tensors."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


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


class TrainingBatches:
    """A training set on the device, and its augmented batches.

    Every image is shifted by up to `padding` pixels each way over black (a random crop of the padded image) and, with `flip`,
    mirrored with probability ½; each image has its own offsets. An epoch's last batch may be smaller, but not of one image (batch
    norm cannot normalise that): then the epoch does without its last image, another one each time.

    Args:
        pixels: uint8 [N, 3, H, W].
        labels: int64 [N].
        normalize: maps a uint8 batch to the network's inputs.
        batch_size: images a batch.
        padding: pixels on each side.
        flip: whether to mirror.
        device: where the images live and the batches are made.
    """

    def __init__(self, pixels, labels, normalize: Normalizer, batch_size: int, padding: int, flip: bool, device: torch.device):
        padded = torch.nn.functional.pad(pixels, (padding,) * 4)
        # Channels last, and seen as every window there is, [N, shifts, shifts, 3, H, W] without a copy: an indexed window is then
        # copied row by row.
        padded = padded.permute(0, 2, 3, 1).contiguous().to(device)
        self.windows = padded.unfold(1, pixels.shape[2], 1).unfold(2, pixels.shape[3], 1)
        self.labels = labels.to(device)
        self.normalize, self.batch_size, self.padding, self.flip = normalize, batch_size, padding, flip

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches (inputs float32 [B, 3, H, W], targets int64 [B]), drawn from a CPU generator.

        The whole epoch is drawn before its first step: one transfer, and no step waits for the host.
        """
        count, shifts = len(self.labels), 2 * self.padding + 1
        order = torch.randperm(count, generator=generator)
        count -= count % self.batch_size == 1
        order = order[:count]
        offsets = torch.randint(shifts, (2, count), generator=generator)
        mirrored = torch.rand(count, generator=generator) < (0.5 if self.flip else 0)
        device = self.labels.device
        plan = [part.to(device).split(self.batch_size) for part in (order, offsets[0], offsets[1], mirrored)]
        for chosen, top, left, mirror in zip(*plan, strict=True):
            crops = self.windows[chosen, top, left].permute(0, 2, 3, 1)  # as they lie in memory
            both = torch.cat([crops, crops.flip(2)])  # choosing whole images of these is faster than torch.where
            crops = both.index_select(0, torch.arange(len(crops), device=device) + len(crops) * mirror)
            yield self.normalize(crops.permute(0, 3, 1, 2)), self.labels[chosen]


def plain_batches(pixels: Tensor, normalize: Normalizer, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """A data set's images in order and as they are, normalised: float32 [B, 3, H, W]."""
    for batch in pixels.split(batch_size):
        yield normalize(batch.to(device))
