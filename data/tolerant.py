"""Reads image files, some of which may be damaged.

The result has the pixels of the good files, and a reason for each damaged one.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from utils.program import out_of_memory

from . import workers
from .decoding import decode_to_resize
from .folders import FOREIGN
from .images import resize_and_center_crop


class Batch(NamedTuple):
    """The images in a batch of files, and the reasons why some files could not be read."""

    pixels: Tensor  # uint8 [R, 3, H, W], the R images that could be read, in order
    sizes: list[tuple[int, int]]  # (height, width) of these images before they were resized
    reasons: list[str]  # for each file: why it could not be read, in one line; "" if it was read


@dataclass(frozen=True)
class TolerantFiles(Dataset[Batch]):
    """Image files. Images are resized and cropped as in `resize_and_center_crop`."""

    paths: np.ndarray  # as bytes: processes share an array, but copy a list of objects
    size: tuple[int, int]
    margin: int = 0

    def __getitem__(self, index: Sequence[int]) -> Batch:
        """Return the images at these positions, and why the others cannot be read."""
        images, sizes, reasons = [], [], []
        for position in index:
            path = Path(os.fsdecode(self.paths[position]))
            try:
                pixels = self._load(path)
                images.append(resize_and_center_crop(pixels, self.size, self.margin))
            except ValueError as error:
                reasons.append(" ".join(str(error).removeprefix(str(path)).split()))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                reasons.append("needs more memory than there is: scale it down")
            else:
                sizes.append((pixels.shape[1], pixels.shape[2]))
                reasons.append("")
        nothing = torch.empty(0, 3, *self.size, dtype=torch.uint8)
        return Batch(torch.stack(images) if images else nothing, sizes, reasons)

    def _load(self, path: Path) -> Tensor:
        """Return an image, uint8 [3, H, W]. Raises ValueError, which names the file."""
        suffix = path.suffix.lower()
        if suffix in FOREIGN:  # some hold a preview, which is not the image
            raise ValueError(f"{path} is a {suffix} file, which is not read: convert it to PNG")
        return decode_to_resize(path, self.size, self.margin)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all files in order; other processes read them. Raises as `workers.read`."""
        positions = range(len(self.paths))
        if len(positions) <= batch_size:  # starting processes would take longer
            return iter([self[positions]])
        starts = positions[::batch_size]
        return workers.read(self, (positions[start : start + batch_size] for start in starts))
