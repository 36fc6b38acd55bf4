"""Loads the training, validation and test set from a user's folder.

The folder holds `train` and `test`, and perhaps `val`, or nothing but class folders. Then about a
fifth of each class is the test set.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from . import classes, duplicates, npz
from .files import decode_if_small, images_of, load_cropped, size_text
from .folders import is_system, refuse_dead_link, shown, some
from .lists import LIST
from .splits import hold_out
from .streaming import ImageFiles, ImageSet

TEST_SHARE = 0.2  # of the images of a folder without train and test
VALIDATION = ("val", "valid", "validation")  # names of a validation set
# A folder that holds one of these is split already, perhaps under another name than train and test.
SPLITS = ("train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval")


def load_train_and_test(folder: Path, root: Path = Path()) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set from a folder. All images must have one size.

    `train` and `test` are each an .npz, an image list (train.txt), or a folder of class folders. If
    several of these are there, the first in this order is taken: the images of a list may be in a
    folder beside it. A folder of class folders alone is split.

    Args:
        folder: the folder.
        root: the data directory; paths in image lists are relative to it.

    Raises ValueError for bad data, and OSError for what cannot be read.
    """
    used = []
    if is_unsplit(folder):
        train, test = _split(images_of(folder), folder)
    else:
        used = [_found(folder, "train"), _found(folder, "test")]
        train, test = (load_at(path, root) for path in used)
    if train.size != test.size:
        sizes = f"{size_text(train.size)} and {size_text(test.size)}"
        raise ValueError(
            f"{folder}: train and test images differ in size ({sizes}): resize them to one"
        )
    if not train.classes:
        train = replace(train, classes=classes.number(train.labels, folder))
    train, test = _noted(train, classes.match(train, test, folder), folder, used)
    return decode_if_small(train), decode_if_small(test)


def load_cropped_train_and_test(
    folder: Path, size: tuple[int, int], margin: int
) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set from class folders, in `train` and `test` or alone.

    Args:
        folder: the folder.
        size: height and width of the network's images. Those in the files may have any size.
        margin: see `images.resize_and_center_crop`.

    Raises ValueError for bad data, and OSError for what cannot be read.
    """
    if is_unsplit(folder):
        train, test = _split(load_cropped(folder, size, margin), folder)
        return duplicates.noted(train, classes.match(train, test, folder))
    both = (folder / "train", folder / "test")
    for place in both:
        refuse_dead_link(place)
        if not place.is_dir():
            raise ValueError(
                f"{folder} holds no folder {place.name}{_beside(folder)}: with --size, give it "
                "train and test with a folder of images for each class, or nothing but these class "
                "folders"
            )
    return _noted(*cropped_pair(*both, size, margin), folder, both)


def cropped_pair(
    train_folder: Path, test_folder: Path, size: tuple[int, int], margin: int
) -> tuple[ImageFiles, ImageFiles]:
    """Return the images of two folders of class folders in one folder: see `load_cropped`."""
    train, test = (load_cropped(folder, size, margin) for folder in (train_folder, test_folder))
    return train, classes.match(train, test, train_folder.parent)


def validation_set(folder: Path) -> Path | None:
    """Return the path of a folder's own validation set; None if it has none.

    Raises ValueError if it has several.
    """
    found = [path for name in VALIDATION if (path := _find(folder, name))]
    if len(found) > 1:
        names = some(path.name for path in found)
        raise ValueError(f"{folder} holds several validation sets ({names}): keep one of them")
    return found[0] if found else None


def validation_loader(
    folder: Path, load: Callable[[Path, Path], ImageSet]
) -> Callable[[Path, ImageSet, ImageSet], ImageSet] | None:
    """Return what loads a folder's own validation set; None if it has none.

    Args:
        folder: the folder.
        load: takes a path and the data directory, and returns the images at this path.
    """
    path = validation_set(folder)
    if path is None:
        return None
    return lambda root, train, test: _matched_validation(path, load(path, root), train, test)


def _matched_validation(
    path: Path, validation: ImageSet, train: ImageSet, test: ImageSet
) -> ImageSet:
    """Return the validation set at a path with the training set's classes, and with notes.

    Raises ValueError for images of another size or another class.
    """
    if validation.size != train.size:
        sizes = f"{size_text(train.size)} and {size_text(validation.size)}"
        raise ValueError(
            f"{path.parent}: train and validation images differ in size ({sizes}): resize them to "
            "one"
        )
    validation = classes.match(train, validation, path.parent, "validation")
    classes.refuse_wrong_labels(validation, f"{path.parent}, validation")
    if not isinstance(train, ImageFiles):  # images in files and in memory cannot be compared
        validation = decode_if_small(validation)
    return duplicates.noted_validation(validation, train, test)


def load_at(path: Path, root: Path = Path()) -> ImageSet:
    """Return the images of an .npz, an image list or a folder; those in files are not decoded."""
    return npz.load(path) if path.suffix.lower() == ".npz" else images_of(path, root)


def places(folder: Path) -> list[Path]:
    """Return the folders of class folders that a folder's sets may be read from."""
    if is_unsplit(folder):
        return [folder]
    named = [folder / name for name in ("train", "test", *VALIDATION)]
    return [place for place in named if place.is_dir()]


def is_unsplit(folder: Path) -> bool:
    """Return whether a folder holds class folders, and nothing that is named like a split."""
    return bool(_folders(folder)) and not _named_like_splits(folder)


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without those that systems and programs make."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not is_system(path.name)]


def _named_like_splits(folder: Path) -> list[str]:
    """Return what a folder holds that shows that its images are split already."""
    named = [path.name for path in sorted(folder.iterdir()) if _split_word(path) in SPLITS]
    folders = _folders(folder)
    if all(path.name.lower().startswith(SPLITS) for path in folders):  # train2017 and val2017
        named += [path.name for path in folders]
    # seg_train and seg_test: such a pair shows that they are no classes, whatever else is there.
    words = {path.name: set(re.split("[^a-z]+", path.name.lower())) & {*SPLITS} for path in folders}
    of_training = [name for name, found in words.items() if found & {"train", "training"}]
    others = [name for name, found in words.items() if found and name not in of_training]
    named += [*of_training, *others] if of_training and others else []
    inside = [path / split for path in folders for split in ("train", "test")]
    named += [f"{path.parent.name}/{path.name}" for path in inside if path.is_dir()]
    return [*dict.fromkeys(named)]


def _split_word(path: Path) -> str:
    """Return the name of a file or folder as far as it may name a split, in lower case."""
    return (path.stem if path.suffix.lower() in (".npz", LIST) else path.name).lower()


def _noted(
    train: ImageSet, test: ImageSet, folder: Path, used: Iterable[Path | None]
) -> tuple[ImageSet, ImageSet]:
    """Return both sets with the notes of `duplicates`, and with one of other splits beside them.

    Args:
        train: the training set.
        test: the test set.
        folder: the folder of both.
        used: where the images are from.
    """
    used = {*used, validation_set(folder)}
    lists = any(path and path.suffix.lower() == LIST for path in used)
    others = [
        path.name
        for path in sorted(folder.iterdir())
        if _split_word(path) in SPLITS and path not in used
        if not (lists and path.is_dir())  # the images of a list may be there
    ]
    if others:
        chosen = some(path.name for path in sorted(filter(None, used)))
        note = f"{shown(folder)}: only {chosen} are used, not {some(others)}"
        train = replace(train, notes=(*train.notes, note))
    return duplicates.noted(train, test)


def _beside(folder: Path) -> str:
    """Say what keeps the class folders of a folder from being split; "" if there is no such."""
    names = _named_like_splits(folder)
    return f" beside {some(names)}" if names else ""


def _find(folder: Path, split: str) -> Path | None:
    """Return the .npz, the image list or the folder of a split: the first that is there."""
    if (array := folder / f"{split}.npz").is_file():
        return array
    lists = [
        path
        for path in folder.iterdir()
        if path.name.lower() == f"{split}{LIST}" and path.is_file()
    ]
    if lists:
        return min(lists)
    refuse_dead_link(folder / split)
    return folder / split if (folder / split).is_dir() else None


def _found(folder: Path, split: str) -> Path:
    """Return what `_find` does. Raises ValueError if nothing is there."""
    if path := _find(folder, split):
        return path
    raise ValueError(
        f"{folder} holds no {split}.npz, no {split}{LIST} and no folder {split}"
        f"{_beside(folder)}: give it train and test, or nothing but class folders"
    )


def _split(images: ImageFiles, folder: Path) -> tuple[ImageSet, ImageSet]:
    """Return a training and a test set from the images of class folders."""
    train, test = hold_out(images, TEST_SHARE, "testing", "give the folder train and test")
    note = (
        f"{shown(folder)} holds no train and test: {len(test):,} of its {len(images):,} images are "
        "the test set, about a fifth of each class, the same ones until a file comes or goes; "
        f"{len(images.classes)} classes: {some(images.classes)}"
    )
    return replace(train, notes=(*images.notes, note)), replace(test, notes=())
