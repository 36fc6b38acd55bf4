"""A user's own images: a folder of class folders, an .npz (see `npz`), or an image list (see
`lists`).

Wrong data raises a ValueError that names the file, missing data a FileNotFoundError.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import classes, npz
from .decoding import size_of
from .entries import TrainingSet
from .folders import none_in, refuse_dead_link, search, shown
from .images import as_ood, is_grey
from .lists import LIST, entries
from .streaming import ImageFiles, ImageSet

IN_MEMORY = 4 * 2**30  # bytes; a split that is larger when it is decoded stays in its files


def load_train_and_test(folder: Path, root: Path = Path()) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set from a folder that holds `train` and `test`.

    Each is an .npz, an image list (train.txt), or a folder of class folders. If several of these
    are there, the first in this order is taken: the images of a list may be in a folder beside it.

    Args:
        folder: the folder.
        root: the data directory; paths in image lists are relative to it.
    """
    train, test = _load_named(folder, "train", root), _load_named(folder, "test", root)
    if train.size != test.size:
        sizes = f"{_size_text(train.size)} and {_size_text(test.size)}"
        raise ValueError(
            f"{folder}: train and test images differ in size ({sizes}): resize them to one"
        )
    if not train.classes:
        train = replace(train, classes=classes.number(train.labels, folder))
    return train, classes.match(train, test, folder)


def _load_named(folder: Path, split: str, root: Path) -> ImageSet:
    """Return one split of `load_train_and_test`."""
    if (folder / f"{split}.npz").is_file():
        return npz.load(folder / f"{split}.npz")
    lists = [
        path
        for path in folder.iterdir()
        if path.name.lower() == f"{split}{LIST}" and path.is_file()
    ]
    if lists:
        return load_split(min(lists), root)
    if (folder / split).is_dir():
        return load_split(folder / split)
    refuse_dead_link(folder / split)
    raise ValueError(
        f"{folder} holds no {split}.npz, no {split}{LIST} and no folder {split}: an "
        "in-distribution set needs train and test"
    )


def load_split(path: Path, root: Path = Path()) -> ImageSet:
    """Return the images of a folder of class folders or of an image list; all must have one size.

    They are decoded into memory, or stay in their files if they would take more than `IN_MEMORY`
    bytes. Paths in a list are relative to `root`.
    """
    images = _from_class_folders(path) if path.is_dir() else _from_list(path, root)
    first, *others = (Path(os.fsdecode(file)) for file in images.paths)
    size = size_of(first)
    for other in others:
        other_size = size_of(other)
        if other_size != size:
            sizes = f"{first.name} {_size_text(size)}, {other} {_size_text(other_size)}"
            raise ValueError(
                f"{path} holds images of several sizes ({sizes}): give the network's with --size "
                "224, or resize them to one"
            )
    return _decode_if_small(replace(images, size=size))


def load_ood(path: Path, reference: Tensor, margin: int = 0, root: Path = Path()) -> ImageSet:
    """Return an out-of-distribution set in the format of the reference images; its labels are -1.

    Images that would take more than `IN_MEMORY` bytes stay in their files.

    Args:
        path: an .npz, an image list, or a folder with images at any depth.
        reference: uint8 [M, 3, H, W]; see `images.as_ood`.
        margin: see `images.resize_and_center_crop`.
        root: the data directory; paths in an image list are relative to it.
    """
    notes: tuple[str, ...] = ()
    if path.is_dir():
        found = search(path)
        if not found.images:
            raise ValueError(none_in(path))
        paths, notes = _encoded(file for file, _ in found.images), found.notes
    elif not path.is_file():  # reading a pipe would never end
        raise ValueError(
            f"{path} is neither a file nor a folder: give an .npz, a list or a folder of images"
        )
    elif path.suffix.lower() == LIST:
        paths = _encoded(file for _, file, _ in entries(path, root))
    else:
        return as_ood(npz.load_pixels(path), reference, margin)
    height, width = reference.shape[-2:]
    return _decode_if_small(
        ImageFiles(
            paths,
            labels=torch.full((len(paths),), -1),
            classes=(),
            size=(height, width),
            margin=margin,
            grey=is_grey(reference),
            notes=notes,
        )
    )


@dataclass(frozen=True)
class ClassFolders:
    """A data set whose images the user puts into class folders, below ROOT/NAME.

    Images have any size. No file is opened when the set is loaded. Training sees random crops,
    evaluation the centre of each image.

    Args:
        name: in the catalog.
        title: in messages.
        side: height and width of the network's images.
        margin: see `images.resize_and_center_crop`.
    """

    name: str
    title: str
    side: int
    margin: int

    def training_set(self, **facts: Any) -> TrainingSet:
        """Return the entry for the catalog; `facts` are more fields of `TrainingSet`."""
        return TrainingSet(
            name=self.name,
            title=self.title,
            load=self.load,
            load_ood=self.load_ood,
            in_own_folder=True,
            side=self.side,
            margin=self.margin,
            **facts,
        )

    def load(self, root: Path) -> tuple[ImageSet, ImageSet]:
        """Return the training and the validation images."""
        folders = self._folder("train", root), self._folder("val", root)
        return _cropped_pair(*folders, (self.side, self.side), self.margin)

    def load_ood(self, root: Path, reference: Tensor, margin: int) -> ImageSet:
        """Return the validation images in the format of the reference images: see `load_ood`."""
        return load_ood(self._folder("val", root), reference, margin)

    def _folder(self, split: str, root: Path) -> Path:
        folder = root / self.name / split
        refuse_dead_link(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{self.title} is not in {folder}: put its images there, a folder a class "
                f"({self.name}/train/CLASS/*.JPEG and {self.name}/val/CLASS/*.JPEG, as for "
                f"torchvision's ImageFolder), or name another folder than {root} with --data-dir"
            )
        return folder


def load_cropped_train_and_test(
    folder: Path, size: tuple[int, int], margin: int
) -> tuple[ImageFiles, ImageFiles]:
    """Return the training and the test set from class folders in `train` and `test`.

    The images have any size and stay in their files: see `load_cropped`.
    """
    for split in ("train", "test"):
        refuse_dead_link(folder / split)
        if not (folder / split).is_dir():
            raise ValueError(
                f"{folder} holds no folder {split}: with --size, train and test are folders with "
                "a folder of images for each class"
            )
    return _cropped_pair(folder / "train", folder / "test", size, margin)


def _cropped_pair(
    train_folder: Path, test_folder: Path, size: tuple[int, int], margin: int
) -> tuple[ImageFiles, ImageFiles]:
    """Return the images of two folders of class folders in one folder: see `load_cropped`."""
    train, test = (load_cropped(folder, size, margin) for folder in (train_folder, test_folder))
    return train, classes.match(train, test, train_folder.parent)


def load_cropped(folder: Path, size: tuple[int, int], margin: int) -> ImageFiles:
    """Return the images of a folder of class folders, of any size; no file is opened.

    Training sees random crops of the images, evaluation their centres with a margin.
    """
    return replace(_from_class_folders(folder, size), margin=margin, crops=True)


def _from_class_folders(folder: Path, size: tuple[int, int] = (0, 0)) -> ImageFiles:
    """Return the images in class folders; the folders' names are the classes."""
    found = search(folder, by_class=True)
    paths, names = zip(*found.images, strict=True)
    numbers = {name: i for i, name in enumerate(sorted(set(names)))}
    labels = torch.tensor([numbers[name] for name in names])
    return ImageFiles(_encoded(paths), labels, tuple(map(shown, numbers)), size, notes=found.notes)


def _from_list(list_: Path, root: Path) -> ImageFiles:
    """Return the images of a list whose labels are class numbers; the classes have no names."""
    paths, labels = [], []
    for where, path, label in entries(list_, root):
        if not 0 <= label < 2**63:
            raise ValueError(
                f"{where}: the label {label} is no class: number the classes from "
                "0 on, and put images without a class (-1) into a list for --ood"
            )
        paths.append(path)
        labels.append(label)
    return ImageFiles(_encoded(paths), torch.tensor(labels), (), (0, 0))


def _decode_if_small(images: ImageFiles) -> ImageSet:
    """Return images decoded into memory, or unchanged if they would take too many bytes."""
    height, width = images.size
    return images if 3 * height * width * len(images) > IN_MEMORY else images.decoded()


def _encoded(paths: Iterable[str | Path]) -> np.ndarray:
    """Return paths as an array of bytes, as `ImageFiles` has them."""
    return np.array([os.fsencode(path) for path in paths])


def _size_text(size: tuple[int, int]) -> str:
    return "×".join(map(str, size))
