"""Data sets that need no download: scikit-learn's handwritten digits and photographs, and noise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split
from torch import Tensor

from .entries import DataSet
from .images import Images, as_ood, resize

NUM_CLASSES = 8  # digits 0-7 are in-distribution
SEED = 0  # the splits, crops and noise are the same in every run
COUNT = 1000  # number of images of photographs, and of noise


def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return all 1,797 digits, uint8 [N, 3, 8, 8], and their labels. Values 0-16 become 0-255."""
    bundle: Any = load_digits()
    grey = np.round(bundle.images * 255 / 16).astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1), bundle.target.astype(np.int64)


def digits() -> tuple[Images, Images]:
    """Return a training and a test set of digits 0-7: two stratified halves, always the same.

    In the catalog, most of the training set is for validation. With more of these digits to train
    on, a network makes no errors on the validation set, and there is nothing to calibrate.
    """
    pixels, labels = _all_digits()
    chosen = np.flatnonzero(labels < NUM_CLASSES)
    splits = train_test_split(chosen, test_size=0.5, stratify=labels[chosen], random_state=SEED)
    names = tuple(map(str, range(NUM_CLASSES)))
    train, test = (
        Images(torch.from_numpy(pixels[split]), torch.from_numpy(labels[split]), names)
        for split in splits
    )
    return train, test


def digits89() -> Tensor:
    """Return digits 8 and 9, which are never trained on: uint8 [354, 3, 8, 8]."""
    pixels, labels = _all_digits()
    return torch.from_numpy(pixels[labels >= NUM_CLASSES])


def photos(size: tuple[int, int]) -> Tensor:
    """Return crops of scikit-learn's two photographs, scaled down to (height, width).

    A crop's longer side is four times that of `size`, or the photograph's shorter side if that is
    less.
    """
    generator = torch.Generator().manual_seed(SEED)
    crops = []
    for photograph in load_sample_images().images:
        pixels = torch.from_numpy(photograph.copy()).permute(2, 0, 1)
        longer = min(4 * max(size), *pixels.shape[1:])
        height, width = (max(1, round(longer * side / max(size))) for side in size)
        count = (COUNT // 2,)
        tops = torch.randint(pixels.shape[1] - height + 1, count, generator=generator).tolist()
        lefts = torch.randint(pixels.shape[2] - width + 1, count, generator=generator).tolist()
        corners = zip(tops, lefts, strict=True)
        crops += [pixels[:, y : y + height, x : x + width] for y, x in corners]
    return torch.cat([resize(crop[None], size) for crop in crops])


def noise(size: tuple[int, int]) -> Tensor:
    """Return images of (height, width) whose values are independent and uniform in 0-255."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randint(256, (COUNT, 3, *size), dtype=torch.uint8, generator=generator)


@dataclass(frozen=True)
class GeneratedSet:
    """An out-of-distribution set that a function makes for any image size.

    Args:
        name: in the catalog.
        title: in tables.
        make: returns the images, uint8 [N, 3, H, W], for a (height, width).
    """

    name: str
    title: str
    make: Callable[[tuple[int, int]], Tensor]

    def ood_set(self) -> DataSet:
        """Return the entry for the catalog."""
        return DataSet(name=self.name, title=self.title, load_ood=self.load_ood)

    def load_ood(self, root: Path, reference: Tensor, margin: int) -> Images:
        """Return the images in the format of the reference images."""
        height, width = reference.shape[-2:]
        return as_ood(self.make((height, width)), reference)
