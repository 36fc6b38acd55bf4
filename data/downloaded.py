"""The sets that torchvision downloads, checks and reads, or the user's own copies of them."""

from pathlib import Path

import numpy as np
import torch
from torchvision import datasets

from . import copies
from .catalog import title_of
from .images import Images

# What torchvision reads, and where its files lie.
TORCHVISION = {
    "cifar10": "cifar-10-batches-py/*",
    "cifar100": "cifar-100-python/*",
    "svhn": "*_32x32.mat",
    "fashionmnist": "FashionMNIST/raw/*",
    "mnist": "MNIST/raw/*",
}


def load(name: str, split: str, root: Path) -> Images:
    """The train or test split of a set that torchvision reads; where its files are not there, of
    the user's own copy.

    Raises FileNotFoundError if neither is there, or if torchvision's files are damaged, and
    ValueError for a wrong copy.
    """
    if copies.has(name, split, root) and not any(root.glob(TORCHVISION[name])):
        return copies.load(name, split, root)
    train = split == "train"
    try:
        for path in root.glob(TORCHVISION[name]):
            if not path.is_file():  # a pipe would never end
                raise OSError(f"{path} is no file")
        if name == "svhn":
            svhn = datasets.SVHN(root, split=split)
            return Images(
                torch.from_numpy(svhn.data),
                torch.from_numpy(svhn.labels),
                tuple(map(str, range(10))),
            )
        if name in ("mnist", "fashionmnist"):
            grey = (datasets.MNIST if name == "mnist" else datasets.FashionMNIST)(root, train=train)
            return Images(
                grey.data[:, None].expand(-1, 3, -1, -1), grey.targets, tuple(grey.classes)
            )
        cifar = (datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100)(root, train=train)
        pixels = torch.from_numpy(np.ascontiguousarray(cifar.data.transpose(0, 3, 1, 2)))
        return Images(pixels, torch.tensor(cifar.targets), tuple(cifar.classes))
    except MemoryError:
        raise
    except Exception as error:  # torchvision checks little: a damaged file may end in any error
        own = (
            f", or put a copy into {root / name} (train.npz and test.npz, or class folders)"
            if name in copies.KNOWN
            else ""
        )
        raise FileNotFoundError(
            f"{title_of(name)} is missing or damaged in {root}: fetch it with `bash "
            f"prepare-cifar.sh {name}`{own}"
        ) from error
