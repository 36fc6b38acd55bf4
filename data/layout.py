"""Finds the training, validation and test set in a user's folder, by the names in it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .folders import is_system, refuse_dead_link, shown, some
from .lists import LIST

VALIDATION = ("val", "valid", "validation")  # names of a validation set
# A folder that holds one of these is split already, perhaps under another name than train and test.
SPLITS = ("train", "training", "test", "testing", *VALIDATION, "dev", "eval")


def is_unsplit(folder: Path) -> bool:
    """Return whether a folder holds class folders, and nothing that is named like a split."""
    return bool(_folders(folder)) and not _named_like_splits(folder)


def places(folder: Path) -> list[Path]:
    """Return the folders and files that a folder's sets are read from, if --size is not given."""
    if is_unsplit(folder):
        return [folder]
    return [path for name in ("train", "test", *VALIDATION) if (path := _find(folder, name))]


def find(folder: Path, split: str) -> Path:
    """Return the .npz, the image list or the folder of a split: the first that is there.

    Raises ValueError if none is.
    """
    if path := _find(folder, split):
        return path
    raise ValueError(
        f"{folder} holds no {split}.npz, no {split}{LIST} and no folder {split}"
        f"{_beside(folder)}: give it train and test, or nothing but class folders"
    )


def find_folder(folder: Path, split: str) -> Path:
    """Return the folder of a split. Raises ValueError if it is not there."""
    if path := _folder(folder, split):
        return path
    raise ValueError(
        f"{folder} holds no folder {split}{_beside(folder)}: with --size, give it train and test "
        "with a folder of images for each class, or nothing but these class folders"
    )


def find_validation(folder: Path, cropped: bool = False) -> Path | None:
    """Return the path of a folder's own validation set; None if it has none.

    Args:
        folder: the folder.
        cropped: whether only a folder counts, as with --size.

    Raises ValueError if it has several.
    """
    look = _folder if cropped else _find
    found = [path for name in VALIDATION if (path := look(folder, name))]
    if len(found) > 1:
        names = some(path.name for path in found)
        raise ValueError(f"{folder} holds several validation sets ({names}): keep one of them")
    return found[0] if found else None


def unused(folder: Path, used: Iterable[Path | None]) -> list[str]:
    """Return a line that says which splits lie in a folder beside those that are used, if any."""
    chosen = {path for path in used if path}
    lists = any(path.suffix.lower() == LIST for path in chosen)
    others = [
        path.name
        for path in sorted(folder.iterdir())
        if _split_word(path) in SPLITS and path not in chosen
        if not (lists and path.is_dir())  # the images of a list may be there
    ]
    names = some(path.name for path in sorted(chosen))
    return [f"{shown(folder)}: only {names} are used, not {some(others)}"] if others else []


def _find(folder: Path, split: str) -> Path | None:
    """Return what `find` does; None if nothing is there."""
    if (array := folder / f"{split}.npz").is_file():
        return array
    lists = [
        path
        for path in folder.iterdir()
        if path.name.lower() == f"{split}{LIST}" and path.is_file()
    ]
    if lists:
        return min(lists)
    return _folder(folder, split)


def _folder(folder: Path, split: str) -> Path | None:
    """Return the folder of a split; None if it is not there."""
    refuse_dead_link(folder / split)
    return folder / split if (folder / split).is_dir() else None


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without those that systems and programs make."""
    with os.scandir(folder) as entries:  # it knows what is no folder without asking for each file
        named = [entry.name for entry in entries if entry.is_symlink() or entry.is_dir()]
    paths = [folder / name for name in sorted(named) if not is_system(name)]
    return [path for path in paths if path.is_dir()]


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


def _beside(folder: Path) -> str:
    """Say what keeps the class folders of a folder from being split; "" if there is no such."""
    names = _named_like_splits(folder)
    return f" beside {some(names)}" if names else ""
