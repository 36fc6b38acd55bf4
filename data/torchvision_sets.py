"""Data sets that torchvision reads, from its own files or from the user's own copy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from . import classes, copies
from .download import download_file
from .entries import DataSet, TrainingSet
from .images import Images, as_ood


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set that torchvision reads.

    Args:
        name: in the catalog.
        title: in messages.
        pattern: of torchvision's files, below the data directory.
        read: returns a split, "train" or "test", from torchvision's files in a folder.
        download: downloads torchvision's files into a folder.
        contents: split → what a user's own copy must hold; empty if copies are not accepted.
    """

    name: str
    title: str
    pattern: str
    read: Callable[[Path, str], Images]
    download: Callable[[Path], None]
    contents: Mapping[str, copies.Contents] = field(default_factory=dict)

    def training_set(self, **facts: Any) -> TrainingSet:
        """Return the entry for the catalog; `facts` are more fields of `TrainingSet`."""
        return TrainingSet(
            name=self.name,
            title=self.title,
            load=self.load,
            load_ood=self.load_ood,
            download=self.download,
            in_own_folder=bool(self.contents),
            **facts,
        )

    def ood_set(self) -> DataSet:
        """Return the entry of a set that is only an out-of-distribution set, with both splits."""
        return DataSet(
            name=self.name,
            title=self.title,
            load_ood=self.load_all_ood,
            download=self.download,
        )

    def load(self, root: Path) -> tuple[Images, Images]:
        """Return the training and the test split.

        Raises FileNotFoundError if torchvision's files are damaged, or if neither they nor a copy
        are there, and ValueError if a copy does not hold this data set.
        """
        train, test = self.load_split("train", root), self.load_split("test", root)
        numbers = tuple(map(str, range(len(train.classes))))
        # A copy may have class names. Each split may then number its classes in its own way.
        either_is_unnamed = numbers in (train.classes, test.classes)
        if not either_is_unnamed or set(train.classes) == set(test.classes):
            test = classes.match(train, test, root / self.name)
        else:
            for named, other in ((train, test), (test, train)):
                classes.refuse_ambiguous(named.classes, other.labels, str(root / self.name))
        return train, test

    def load_ood(self, root: Path, reference: Tensor, margin: int) -> Images:
        """Return the test split in the format of the reference images. Raises as `load`."""
        test = self.load_split("test", root)
        return as_ood(test.pixels, reference, margin, test.notes)

    def load_all_ood(self, root: Path, reference: Tensor, margin: int) -> Images:
        """Return both splits in the format of the reference images. Raises as `load`."""
        pixels = [self.load_split(split, root).pixels for split in ("train", "test")]
        return as_ood(torch.cat(pixels), reference, margin)

    def load_split(self, split: str, root: Path) -> Images:
        """Return one split, "train" or "test". Raises as `load`."""
        paths = list(root.glob(self.pattern))
        if not paths and self.contents and copies.exists(self.name, split, root):
            return copies.load(self.name, self.title, split, self.contents[split], root)
        try:
            for path in paths:
                if not path.is_file():  # reading a pipe would never end
                    raise OSError(f"{path} is not a file")
            return self.read(root, split)
        except MemoryError:
            raise
        except Exception as error:  # torchvision checks little: a damaged file can cause any error
            copy = (
                f", or put a copy into {root / self.name} (train.npz and test.npz, or class "
                "folders)"
                if self.contents
                else ""
            )
            raise FileNotFoundError(
                f"{self.title} is missing or damaged in {root}: download it with `bash "
                f"prepare-cifar.sh {self.name}`{copy}"
            ) from error


def cifar(name: str, title: str, contents: Mapping[str, copies.Contents]) -> TorchvisionSet:
    """Return CIFAR-10 or CIFAR-100."""
    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    return TorchvisionSet(
        name,
        title,
        f"{kind.base_folder}/*",
        partial(_read_cifar, kind),
        partial(_download_cifar, kind),
        contents,
    )


def _read_cifar(kind: type[datasets.CIFAR10], root: Path, split: str) -> Images:
    dataset = kind(root, train=split == "train")
    pixels = torch.from_numpy(np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2)))
    return Images(pixels, torch.tensor(dataset.targets), tuple(dataset.classes))


def _download_cifar(kind: type[datasets.CIFAR10], root: Path) -> None:
    download_file(kind.url, root / kind.filename, kind.tgz_md5)
    kind(root, download=True)  # checks and unpacks the file


def svhn(name: str, title: str, contents: Mapping[str, copies.Contents]) -> TorchvisionSet:
    """Return SVHN."""
    return TorchvisionSet(name, title, "*_32x32.mat", _read_svhn, _download_svhn, contents)


def _read_svhn(root: Path, split: str) -> Images:
    dataset = datasets.SVHN(root, split=split)
    return Images(
        torch.from_numpy(dataset.data),
        torch.from_numpy(dataset.labels),
        tuple(map(str, range(10))),
    )


def _download_svhn(root: Path) -> None:
    for split in ("train", "test"):
        url, filename, md5 = datasets.SVHN.split_list[split]
        download_file(url, root / filename, md5)


def mnist(kind: type[datasets.MNIST], name: str, title: str) -> TorchvisionSet:
    """Return MNIST, or a data set with its files.

    Raises ValueError for EMNIST and QMNIST, whose files have other names.
    """
    if kind not in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
        raise ValueError(f"{kind.__name__} does not have the files of MNIST: write a `load` for it")
    return TorchvisionSet(
        name,
        title,
        f"{kind.__name__}/raw/*",
        partial(_read_mnist, kind),
        partial(_download_mnist, kind),
    )


def _read_mnist(kind: type[datasets.MNIST], root: Path, split: str) -> Images:
    grey = kind(root, train=split == "train")
    return Images(grey.data[:, None].expand(-1, 3, -1, -1), grey.targets, tuple(grey.classes))


def _download_mnist(kind: type[datasets.MNIST], root: Path) -> None:
    """Download from the first of the servers that has a file. Torchvision itself has no timeout."""
    try:
        for train in (True, False):
            kind(root, train=train)
        return
    except Exception:  # missing, or cut while it was unpacked: torchvision can raise any error
        pass
    raw = root / kind.__name__ / "raw"
    for name, md5 in kind.resources:
        for mirror in kind.mirrors:
            try:
                download_file(mirror + name, raw / name, md5)
                break
            except (ValueError, OSError):
                if mirror == kind.mirrors[-1]:
                    raise
        (raw / name).with_suffix("").unlink(missing_ok=True)
    kind(root, download=True)  # unpacks the files
