"""Images that do not fit into memory: files, which processes of their own decode while the network works."""

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .decoding import decode
from .images import Images, covered, random_crop, to_grey

WORKERS = max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))  # torchrun's processes share
AHEAD = 4  # batches each of them has ready
PIXELS = 2**23  # of images that are decoded, or run through a network, at a time


def fitting(count: int, size: tuple[int, int]) -> int:
    """At most so many images of (height, width), and fewer of large ones."""
    return max(1, min(count, PIXELS // (size[0] * size[1])))


def _leave_signals_to_the_parent(_: int) -> None:
    """A Ctrl-C reaches these processes too; but the one that trains still needs their images for its last step."""
    for number in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_IGN)


@dataclass(frozen=True)
class ImageFiles:
    """A data set's split in files, with what `Images` offers of one in memory.

    Files of another size are brought to it: see `covered`.
    """

    paths: np.ndarray  # as bytes, which unlike a list of objects the processes share
    labels: Tensor  # int64 [N]
    classes: tuple[str, ...]
    size: tuple[int, int]
    margin: int = 0  # around the centre that is cropped
    crops: bool = False  # whether training sees random crops
    grey: bool = False  # whether colour is taken out
    notes: tuple[str, ...] = ()  # on what was left out when it was loaded, a line each

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: Sequence[tuple[int, int | None]]) -> Tensor:
        """The images at these positions, uint8 [B, 3, H, W]: their centres, or where a seed is given a random crop."""
        return torch.stack([self._seen(Path(os.fsdecode(self.paths[position])), seed) for position, seed in chosen])

    def _seen(self, path: Path, seed: int | None) -> Tensor:
        pixels = decode(path)
        pixels = covered(pixels, self.size, self.margin) if seed is None else random_crop(pixels, self.size, seed)
        return to_grey(pixels[None])[0] if self.grey else pixels

    def take(self, positions: Tensor) -> "ImageFiles":
        """The images at these positions."""
        return replace(self, paths=self.paths[positions.numpy()], labels=self.labels[positions])

    def first(self, count: int) -> Tensor:
        """uint8 [count, 3, H, W]."""
        return self[[(position, None) for position in range(min(count, len(self)))]]

    def decoded(self) -> Images:
        """All of it in memory."""
        pixels = torch.cat([*self.batches(fitting(500, self.size))])
        return Images(pixels, self.labels, self.classes, self.notes)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """All images in order, uint8 [B, 3, H, W]."""
        if len(self) <= batch_size:  # processes of their own would take longer to start
            return iter([self.first(len(self))])
        return self.read(torch.arange(len(self)).split(batch_size))

    def read(self, batches: Iterable[Tensor], seeds: Iterable[Tensor | None] = repeat(None)) -> Iterator[Tensor]:
        """The images at each batch's positions, uint8 [B, 3, H, W], each a random crop where a batch has seeds.

        Raises ValueError, naming it, for a damaged image.
        """
        chosen = (
            [*zip(batch.tolist(), [None] * len(batch) if drawn is None else drawn.tolist(), strict=True)]
            for batch, drawn in zip(batches, seeds, strict=False)
        )
        loader = DataLoader(
            self,
            batch_size=None,  # a batch is one item to the loader: the processes stack it, and nothing is collated
            sampler=chosen,
            num_workers=WORKERS,
            prefetch_factor=AHEAD,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # not the global one, whose state is the run's
            worker_init_fn=_leave_signals_to_the_parent,
        )
        try:
            yield from loader
        except ValueError as error:  # it comes with the process's whole traceback
            raise ValueError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from None


ImageSet = Images | ImageFiles  # either serves wherever a set is only read
