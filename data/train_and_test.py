"""Loads the training and the test set from a user's folder.

The folder holds `train` and `test`, or nothing but class folders. Then about a fifth of each class
is the test set.
"""

from dataclasses import replace
from pathlib import Path

from . import classes, duplicates, npz
from .files import decode_if_small, images_of, load_cropped, size_text
from .folders import is_system, refuse_dead_link, shown, some
from .lists import LIST
from .splits import hold_out
from .streaming import ImageFiles, ImageSet

TEST_SHARE = 0.2  # of the images of a folder without train and test
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
    if is_unsplit(folder):
        train, test = _split(images_of(folder), folder)
    else:
        train, test = _load_named(folder, "train", root), _load_named(folder, "test", root)
    if train.size != test.size:
        sizes = f"{size_text(train.size)} and {size_text(test.size)}"
        raise ValueError(
            f"{folder}: train and test images differ in size ({sizes}): resize them to one"
        )
    if not train.classes:
        train = replace(train, classes=classes.number(train.labels, folder))
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
    if is_unsplit(folder):
        train, test = _split(load_cropped(folder, size, margin), folder)
        return duplicates.noted(train, classes.match(train, test, folder))
    for split in ("train", "test"):
        refuse_dead_link(folder / split)
        if not (folder / split).is_dir():
            raise ValueError(
                f"{folder} holds no folder {split}{_beside(folder)}: with --size, give it train "
                "and test with a folder of images for each class, or nothing but these class "
                "folders"
            )
    return duplicates.noted(*cropped_pair(folder / "train", folder / "test", size, margin))


def cropped_pair(
    train_folder: Path, test_folder: Path, size: tuple[int, int], margin: int
) -> tuple[ImageFiles, ImageFiles]:
    """Return the images of two folders of class folders in one folder: see `load_cropped`."""
    train, test = (load_cropped(folder, size, margin) for folder in (train_folder, test_folder))
    return train, classes.match(train, test, train_folder.parent)


def is_unsplit(folder: Path) -> bool:
    """Return whether a folder holds class folders, and nothing that is named like a split."""
    return bool(_folders(folder)) and not _named_like_splits(folder)


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without those that systems and programs make."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not is_system(path.name)]


def _named_like_splits(folder: Path) -> list[str]:
    """Return what a folder holds that shows that its images are split already."""
    named = [
        path.name
        for path in sorted(folder.iterdir())
        if (path.stem if path.suffix.lower() in (".npz", LIST) else path.name).lower() in SPLITS
    ]
    folders = _folders(folder)
    if all(path.name.lower().startswith(SPLITS) for path in folders):  # train2017 and val2017
        named += [path.name for path in folders]
    inside = [path / split for path in folders for split in ("train", "test")]
    named += [f"{path.parent.name}/{path.name}" for path in inside if path.is_dir()]
    return [*dict.fromkeys(named)]


def _beside(folder: Path) -> str:
    """Say what keeps the class folders of a folder from being split; "" if there is no such."""
    names = _named_like_splits(folder)
    return f" beside {some(names)}" if names else ""


def _load_named(folder: Path, split: str, root: Path) -> ImageSet:
    """Return one split of `load_train_and_test`; images in files are not decoded."""
    if (folder / f"{split}.npz").is_file():
        return npz.load(folder / f"{split}.npz")
    lists = [
        path
        for path in folder.iterdir()
        if path.name.lower() == f"{split}{LIST}" and path.is_file()
    ]
    if lists:
        return images_of(min(lists), root)
    if (folder / split).is_dir():
        return images_of(folder / split)
    refuse_dead_link(folder / split)
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
