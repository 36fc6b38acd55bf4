"""Loads the training, validation and test set from a user's folder.

The folder holds `train` and `test`, and perhaps `val`, or nothing but class folders. Then about a
fifth of each class is the test set.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import classes, duplicates, layout, npz
from .files import decode_if_small, images_of, load_cropped, size_text
from .folders import shown, some
from .splits import hold_out
from .streaming import ImageFiles, ImageSet

TEST_SHARE = 0.2  # of the images of a folder without train and test


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
    notes = []
    if layout.is_unsplit(folder):
        train, test = _split(images_of(folder), folder)
    else:
        used = [layout.find(folder, split) for split in ("train", "test")]
        train, test = (load_at(path, root) for path in used)
        notes = layout.unused(folder, [*used, layout.find_validation(folder)])
    _refuse_other_size(train, test, folder, "test")
    if not train.classes:
        train = replace(train, classes=classes.number(train.labels, folder))
    train = replace(train, notes=(*train.notes, *notes))
    train, test = duplicates.noted(train, classes.match(train, test, folder))
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
    if layout.is_unsplit(folder):
        train, test = _split(load_cropped(folder, size, margin), folder)
        return duplicates.noted(train, classes.match(train, test, folder))
    used = [layout.find_folder(folder, split) for split in ("train", "test")]
    train, test = cropped_pair(used[0], used[1], size, margin)
    notes = layout.unused(folder, [*used, layout.find_validation(folder, cropped=True)])
    train = replace(train, notes=(*train.notes, *notes))
    return duplicates.noted(train, test)


def cropped_pair(
    train_folder: Path, test_folder: Path, size: tuple[int, int], margin: int
) -> tuple[ImageFiles, ImageFiles]:
    """Return the images of two folders of class folders in one folder: see `load_cropped`."""
    train, test = (load_cropped(folder, size, margin) for folder in (train_folder, test_folder))
    return train, classes.match(train, test, train_folder.parent)


def validation_loader(
    path: Path | None, load: Callable[[Path, Path], ImageSet]
) -> Callable[[Path, ImageSet, ImageSet], ImageSet] | None:
    """Return what loads a folder's own validation set; None if it has none.

    Args:
        path: of the validation set, in the folder; None if it has none.
        load: takes a path and the data directory, and returns the images at this path.

    Returns:
        a function of the data directory, the training and the test set. It raises ValueError for
        images of another size or another class.
    """
    if path is None:
        return None
    folder = path.parent

    def load_validation(root: Path, train: ImageSet, test: ImageSet) -> ImageSet:
        try:
            images = load(path, root)
        except ValueError as error:
            raise ValueError(
                f"{error}; or rename {path.name}: then some training images are held out"
            ) from error
        _refuse_other_size(train, images, folder, "validation")
        images = classes.match(train, images, folder, "validation")
        classes.refuse_wrong_labels(images, f"{folder}, validation")
        decoded = decode_if_small(images)

        def like(other: ImageSet) -> ImageSet:
            """Return the images in files or in memory, as another set, to be compared with it."""
            return images if isinstance(other, ImageFiles) else decoded

        notes = [
            *duplicates.in_training(train, like(train)),
            *duplicates.in_validation(like(test), test),
        ]
        return replace(like(train), notes=(*images.notes, *notes))

    return load_validation


def load_at(path: Path, root: Path = Path()) -> ImageSet:
    """Return the images of an .npz, an image list or a folder; those in files are not decoded."""
    return npz.load(path) if path.suffix.lower() == ".npz" else images_of(path, root)


def _refuse_other_size(train: ImageSet, images: ImageSet, folder: Path, split: str) -> None:
    if train.size != images.size:
        sizes = f"{size_text(train.size)} and {size_text(images.size)}"
        raise ValueError(
            f"{folder}: train and {split} images differ in size ({sizes}): resize them to one"
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
