"""A user's own images: a folder of class folders, an .npz (see `npz`), or an image list (see
`lists`).

Wrong data raises a ValueError that names the file, missing data a FileNotFoundError.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import npz
from .decoding import size_of
from .folders import none_in, search, shown
from .images import as_ood, is_grey
from .lists import LIST, entries
from .streaming import ImageFiles, ImageSet

IN_MEMORY = 4 * 2**30  # bytes; a split that is larger when it is decoded stays in its files


def load_split(path: Path, root: Path = Path()) -> ImageSet:
    """Return `images_of` a folder or a list, decoded into memory if they are small enough."""
    return decode_if_small(images_of(path, root))


def images_of(path: Path, root: Path = Path()) -> ImageFiles:
    """Return the images of a folder of class folders or of an image list; all must have one size.

    Only the beginning of each file is read. Paths in a list are relative to `root`.
    """
    images = _from_class_folders(path) if path.is_dir() else _from_list(path, root)
    first, *others = (Path(os.fsdecode(file)) for file in images.paths)
    size = size_of(first)
    for other in others:
        other_size = size_of(other)
        if other_size != size:
            sizes = f"{first.name} {size_text(size)}, {other} {size_text(other_size)}"
            raise ValueError(
                f"{path} holds images of several sizes ({sizes}): give the network's with --size "
                "224, or resize them to one"
            )
    return replace(images, size=size)


def decode_if_small(images: ImageSet) -> ImageSet:
    """Return images decoded into memory; in their files if that would take over `IN_MEMORY`."""
    height, width = images.size
    if isinstance(images, ImageFiles) and 3 * height * width * len(images) <= IN_MEMORY:
        return images.decoded()
    return images


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
    elif path.suffix.lower() == ".npz":
        return as_ood(npz.load_pixels(path), reference, margin)
    else:
        raise ValueError(f"{path} is no .npz, no image list ({LIST}) and no folder of images")
    height, width = reference.shape[-2:]
    return decode_if_small(
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


def load_cropped(folder: Path, size: tuple[int, int], margin: int) -> ImageFiles:
    """Return the images of a folder of class folders, of any size; no file is opened.

    Training sees random crops of the images, evaluation their centres with a margin.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: with --size, give each set as class folders")
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


def _encoded(paths: Iterable[str | Path]) -> np.ndarray:
    """Return paths as an array of bytes, as `ImageFiles` has them."""
    return np.array([os.fsencode(path) for path in paths])


def size_text(size: tuple[int, int]) -> str:
    """Return a (height, width) as messages have it."""
    return "×".join(map(str, size))
