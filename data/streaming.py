"""Images that do not fit into memory: they stay in their files, and are decoded when needed."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from . import workers
from .decoding import decode_to_resize
from .images import (
    EVALUATION_BATCH,
    Images,
    has_colour,
    random_crop,
    resize_and_center_crop,
    to_grey,
)

PIXELS = 2**23  # at most so many pixels are decoded, or run through a network, at a time


def limit_batch(batch_size: int, size: tuple[int, int]) -> int:
    """Return how many images of (height, width) to take at a time: fewer if they are large."""
    return max(1, min(batch_size, PIXELS // (size[0] * size[1])))


@dataclass(frozen=True)
class ImageFiles(Dataset[Tensor]):
    """A split of a data set, in files, with the same methods as `Images`.

    Images of another size are resized and cropped: see `resize_and_center_crop`.
    """

    paths: np.ndarray  # as bytes: processes share an array, but copy a list of objects
    labels: Tensor  # int64 [N]
    classes: tuple[str, ...]
    size: tuple[int, int]
    margin: int = 0  # how much longer than `size` each side is before the centre is cropped
    crops: bool = False  # whether training sees random crops
    grey: bool = False  # whether images are turned grey
    workers: int | None = None  # processes that decode; None: as many as `workers.read` chooses
    notes: tuple[str, ...] = ()  # lines that say what was left out when it was loaded

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Sequence[tuple[int, int | None]]) -> Tensor:
        """Return the images at (position, seed) pairs, uint8 [B, 3, H, W].

        With a seed, an image is a random crop; without, it is the centre.
        """
        return torch.stack([self._load(position, seed) for position, seed in index])

    def _load(self, position: int, seed: int | None) -> Tensor:
        path = Path(os.fsdecode(self.paths[position]))
        pixels = decode_to_resize(path, self.size, self.margin)
        if seed is None:
            pixels = resize_and_center_crop(pixels, self.size, self.margin)
        else:
            pixels = random_crop(pixels, self.size, seed)
        return to_grey(pixels[None])[0] if self.grey else pixels

    def take(self, positions: Tensor) -> "ImageFiles":
        """Return the images at these positions."""
        return replace(self, paths=self.paths[positions.numpy()], labels=self.labels[positions])

    def first(self, count: int) -> Tensor:
        """Return the first images, uint8 [count, 3, H, W]."""
        return self[[(position, None) for position in range(min(count, len(self)))]]

    def decoded(self) -> Images:
        """Return all images in memory."""
        batches = self.batches(limit_batch(EVALUATION_BATCH, self.size))
        return Images(torch.cat(list(batches)), self.labels, self.classes, self.notes)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Return an iterator over all images in order, uint8 [B, 3, H, W]."""
        if len(self) <= batch_size:  # starting processes would take longer
            return iter([self.first(len(self))])
        return self.read(torch.arange(len(self)).split(batch_size))

    def read(
        self, batches: Iterable[Tensor], seeds: Iterable[Tensor | None] = repeat(None)
    ) -> Iterator[Tensor]:
        """Return an iterator over the images at each batch's positions, uint8 [B, 3, H, W].

        Images are random crops if the batch has seeds, else centres. Raises as `workers.read`.
        """
        indices = (
            [(position, None) for position in batch.tolist()]
            if batch_seeds is None
            else list(zip(batch.tolist(), batch_seeds.tolist(), strict=True))
            for batch, batch_seeds in zip(batches, seeds, strict=False)
        )
        return workers.read(self, indices, self.workers)


ImageSet = Images | ImageFiles


def turned_grey(images: ImageSet, split: str) -> ImageSet:
    """Return the images of a split in grey, for a network whose training images are all grey."""
    if isinstance(images, ImageFiles):
        # A hundred from all over the set: reading all would take long.
        some = images.take(torch.linspace(0, len(images) - 1, 100).long().unique())
        note = f"{split} images with colour are turned grey: no training image has colour"
        notes = (*images.notes, note) if has_colour(some.first(100)).any() else images.notes
        return replace(images, grey=True, notes=notes)
    coloured = int(has_colour(images.pixels).sum())
    if not coloured:
        return images
    note = (
        f"{coloured:,} of {len(images):,} {split} images have colour, and no training image has: "
        "they are turned grey"
    )
    return replace(images, pixels=to_grey(images.pixels), notes=(*images.notes, note))
