"""Data that needs no download: scikit-learn's handwritten digits and photographs, and noise."""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split
from torch import Tensor

from .images import Images, resize

IN_CLASSES = 8  # digits 0-7 are in-distribution
SPLIT_SEED = 0  # the splits and the made-up sets are the same in every run
MADE = 1000  # images in each made-up set


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """All 1,797 digits, uint8 [N, 3, 8, 8], and their labels.

    Their values 0-16 are spread over 0-255.
    """
    digits = load_digits()
    grey = np.round(digits.images * 255 / 16).astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1), digits.target.astype(np.int64)


def digits() -> tuple[Images, Images]:
    """Digits 0-7: a training and a test set, half and half, stratified, always the same.

    Most of the training set is for validation (the catalog says how much): with more of these
    digits to train on, a network makes no errors there, and nothing is left to calibrate.
    """
    pixels, labels = _digits()
    known = np.flatnonzero(labels < IN_CLASSES)
    parts = train_test_split(known, test_size=0.5, stratify=labels[known], random_state=SPLIT_SEED)
    names = tuple(map(str, range(IN_CLASSES)))
    train, test = (
        Images(torch.from_numpy(pixels[part]), torch.from_numpy(labels[part]), names)
        for part in parts
    )
    return train, test


def digits89() -> Tensor:
    """Digits 8 and 9, never trained on: uint8 [354, 3, 8, 8]."""
    pixels, labels = _digits()
    return torch.from_numpy(pixels[labels >= IN_CLASSES])


def photos(size: tuple[int, int]) -> Tensor:
    """Square crops of scikit-learn's two photographs, four times the size each way where they allow
    it, scaled down to it.
    """
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    crops = []
    for photograph in load_sample_images().images:
        pixels = torch.from_numpy(photograph.copy()).permute(2, 0, 1)
        side = min(4 * max(size), *pixels.shape[1:])
        top = torch.randint(pixels.shape[1] - side + 1, (MADE // 2,), generator=generator).tolist()
        left = torch.randint(pixels.shape[2] - side + 1, (MADE // 2,), generator=generator).tolist()
        crops += [pixels[:, y : y + side, x : x + side] for y, x in zip(top, left, strict=True)]
    return torch.cat([resize(crop[None], size) for crop in crops])


def noise(size: tuple[int, int]) -> Tensor:
    """Every value uniform in 0-255 and independent."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    return torch.randint(256, (MADE, 3, *size), dtype=torch.uint8, generator=generator)
