"""A user's own images: a folder of class folders, an .npz, or an image list (see `lists`).

What is wrong raises a ValueError that names the file, and what is missing a FileNotFoundError.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .decoding import opened, size_of
from .folders import none_in, search, shown, some
from .images import Images, is_grey, match_format
from .lists import LIST, entries, is_list
from .streaming import ImageFiles, ImageSet

IN_MEMORY = 4 * 2**30  # decoded, a split of more bytes is streamed


def image_files(folder: Path) -> list[Path]:
    """All image files below a folder, sorted, as `folders.search` finds them."""
    return [Path(path) for path, _ in search(folder).images]


def _names(paths: Iterable[str | Path]) -> np.ndarray:
    return np.array([os.fsencode(path) for path in paths])


def _class_folders(folder: Path, size: tuple[int, int] = (0, 0)) -> ImageFiles:
    """A folder of class folders, whose names are the classes."""
    found = search(folder, by_class=True)
    paths, tops = zip(*found.images, strict=True)
    number = {top: i for i, top in enumerate(sorted(set(tops)))}
    labels = torch.tensor([number[top] for top in tops])
    return ImageFiles(_names(paths), labels, tuple(map(shown, number)), size, notes=found.notes)


def _listed(list_: Path, root: Path) -> ImageFiles:
    """An image list whose labels are classes; it has no names for them."""
    paths, labels = [], []
    for where, path, label in entries(list_, root):
        if not 0 <= label < 2**63:
            raise ValueError(
                f"{where}: the label {label} is no class: number the classes from "
                "0 on, and put images without a class (-1) into a list for --ood"
            )
        paths.append(path)
        labels.append(label)
    return ImageFiles(_names(paths), torch.tensor(labels), (), (0, 0))


def load_split(place: Path, root: Path = Path()) -> ImageSet:
    """A folder of class folders, or an image list; its images must all be of one size.

    They are decoded into memory, or left in their files if they would take more than `IN_MEMORY`
    bytes. The paths in a list are relative to `root`.
    """
    found = _class_folders(place) if place.is_dir() else _listed(place, root)
    first, *rest = (Path(os.fsdecode(path)) for path in found.paths)
    size = size_of(first)
    for path in rest:
        if (other := size_of(path)) != size:
            sizes = f"{first.name} {size[0]}×{size[1]}, {path} {other[0]}×{other[1]}"
            raise ValueError(f"{place} holds images of several sizes ({sizes}): resize them to one")
    return _held(replace(found, size=size))


def _held(stored: ImageFiles) -> ImageSet:
    """Files as they are if in memory they would take more than `IN_MEMORY` bytes, else decoded."""
    height, width = stored.size
    return stored if 3 * height * width * len(stored) > IN_MEMORY else stored.decoded()


def load_cropped(folder: Path, size: tuple[int, int], margin: int) -> ImageFiles:
    """A folder of class folders with images of any size; no file is opened.

    Training takes random crops of them, all else their centres with a margin.
    """
    return replace(_class_folders(folder, size), margin=margin, crops=True)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz that count here.

    Raises ValueError for what is none, or holds anything but plain arrays.
    """
    try:
        with opened(path) as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is a single array, an .npy")
            with loaded as archive:
                arrays = {
                    name: archive[name]
                    for name in ("images", "labels", "class_names")
                    if name in archive
                }
        # NumPy gives a zip's other files as bytes.
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds other files")
    except (
        Exception
    ) as error:  # NumPy lets through what it meets in damaged bytes, a SyntaxError among it
        # NumPy's ValueErrors advise to unpickle, which runs whatever code the file holds.
        reason = (
            "it is something else, or holds pickled objects"
            if isinstance(error, ValueError)
            else error
        )
        raise ValueError(
            f"{path} cannot be read as an .npz ({reason}): save plain arrays with numpy.savez"
        ) from error
    return arrays


def _pixels(path: Path, arrays: dict[str, np.ndarray]) -> Tensor:
    """The images of an .npz, uint8 [N, 3, H, W]."""
    if "images" not in arrays:
        raise ValueError(
            f"{path} needs an array named images; the arrays in it are "
            f"{', '.join(arrays) or 'none'}"
        )
    images = arrays["images"]
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[-1] not in (1, 3)
        or not images.size
    ):
        raise ValueError(
            f"{path}: images must be uint8 [N, H, W, 3], got {images.dtype} {list(images.shape)}"
        )
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).expand(
        -1, 3, -1, -1
    )


def _class_names(path: Path, names: np.ndarray) -> tuple[str, ...]:
    names = np.atleast_1d(names)
    if names.ndim != 1 or names.dtype.kind not in "SUiu":
        raise ValueError(
            f"{path}: class_names must be text [C], got {names.dtype} {list(names.shape)}"
        )
    classes = tuple(shown(bytes(name)) if names.dtype.kind == "S" else str(name) for name in names)
    if len(set(classes)) < len(classes):
        raise ValueError(
            f"{path}: class names are given twice ({some(sorted(classes))}): give each class its "
            "own"
        )
    return classes


def load_npz(path: Path) -> Images:
    """An .npz with `images` uint8 [N, H, W, 3 or 1], `labels` integers [N] and, where given,
    `class_names` [C].

    Without `class_names` the classes are ().
    """
    arrays = _arrays(path)
    pixels = _pixels(path, arrays)
    if "labels" not in arrays:
        raise ValueError(f"{path} needs arrays named images and labels, it has {', '.join(arrays)}")
    labels = arrays["labels"]
    if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{path}: labels must be integers [{len(pixels)}], got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    classes = _class_names(path, arrays["class_names"]) if "class_names" in arrays else ()
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)), classes)


def _numbered(labels: Tensor, folder: Path) -> tuple[str, ...]:
    """The classes of training labels that come without names: their numbers."""
    numbers = labels.unique().tolist()
    if numbers != list(range(len(numbers))):
        listed = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        raise ValueError(
            f"{folder}: training labels must number the classes from 0 on without a gap, got "
            f"{listed}: "
            "renumber them, or add class_names to an .npz"
        )
    return tuple(map(str, numbers))


def matched(train: ImageSet, test: ImageSet, folder: Path) -> ImageSet:
    """A test set with the training set's classes: it is matched by name, and need not have all of
    them.

    Raises ValueError if it has others.
    """
    # Without names, the labels are the training classes' numbers.
    if test.classes in ((), train.classes):
        return replace(test, classes=train.classes)
    if unknown := sorted({*test.classes} - {*train.classes}):
        raise ValueError(
            f"{folder}: train and test have different classes: of the test set's, {some(unknown)} "
            f"{'is' if len(unknown) == 1 else 'are'} not among the training set's "
            f"({some(train.classes)}): rename them, "
            "move them elsewhere, or give an .npz class_names"
        )
    refuse_outside(test, f"{folder}, test")
    number = torch.tensor([train.classes.index(name) for name in test.classes])
    missing = [name for name in train.classes if name not in test.classes]
    note = (
        f"{shown(folder)}: the test set has no images of {len(missing)} of {len(train.classes)} "
        f"classes ({some(missing)})",
    )
    return replace(
        test,
        labels=number[test.labels],
        classes=train.classes,
        notes=test.notes + note * bool(missing),
    )


def refuse_outside(part: ImageSet, where: str) -> None:
    """Raises ValueError for labels that are not those of the set's classes."""
    low, high = int(part.labels.min()), int(part.labels.max())
    if low < 0 or high >= len(part.classes):
        raise ValueError(
            f"{where}: labels run from {low} to {high}, outside 0 to {len(part.classes) - 1}: "
            "correct them, or the class names"
        )


def _split(folder: Path, split: str, root: Path) -> ImageSet:
    """One split of `load_train_and_test`."""
    lists = [
        path
        for path in folder.iterdir()
        if path.name.lower() == f"{split}{LIST}" and path.is_file()
    ]
    if (folder / f"{split}.npz").is_file():
        return load_npz(folder / f"{split}.npz")
    if lists:
        return load_split(min(lists), root)
    if (folder / split).is_dir():
        return load_split(folder / split)
    raise ValueError(
        f"{folder} holds no {split}.npz, no {split}{LIST} and no folder {split}: an "
        "in-distribution set needs train and test"
    )


def load_train_and_test(folder: Path, root: Path = Path()) -> tuple[ImageSet, ImageSet]:
    """An in-distribution set: a folder that holds `train` and `test`.

    Each is an .npz, an image list (train.txt, whose paths are relative to `root`) or a folder of
    class folders. The first of these that is there counts: a list may lie beside its images.
    """
    train, test = (_split(folder, split, root) for split in ("train", "test"))
    if train.size != test.size:
        both = " and ".join("×".join(map(str, part.size)) for part in (train, test))
        raise ValueError(
            f"{folder}: train and test images differ in size ({both}): resize them to one"
        )
    if not train.classes:
        train = replace(train, classes=_numbered(train.labels, folder))
    return train, matched(train, test, folder)


def load_out(path: Path, reference: Tensor, margin: int = 0, root: Path = Path()) -> ImageSet:
    """An out-of-distribution set in the format of reference images; its labels are -1.

    It is an .npz, an image list (whose paths are relative to `root`), or a folder with images
    anywhere below it. Images that would take more than `IN_MEMORY` bytes are streamed from their
    files. See `images.match_format` and `resize_and_center_crop`.
    """
    if not path.is_dir() and not path.is_file():  # a pipe would never end
        raise ValueError(
            f"{path} is neither a file nor a folder: give an .npz, a list or a folder of images"
        )
    notes: tuple[str, ...] = ()
    if path.is_dir():
        found = search(path)
        if not found.images:
            raise ValueError(none_in(path))
        paths, notes = _names(each for each, _ in found.images), found.notes
    elif is_list(path):
        paths = _names(each for _, each, _ in entries(path, root))
    else:
        pixels = match_format(_pixels(path, _arrays(path)), reference, margin)
        return Images(pixels, torch.full((len(pixels),), -1), ())
    labels, size = torch.full((len(paths),), -1), tuple(reference.shape[-2:])
    return _held(ImageFiles(paths, labels, (), size, margin, grey=is_grey(reference), notes=notes))
