"""Warns of images that a user's data set holds more than once."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from utils.files import open_regular

from .folders import shown
from .streaming import ImageFiles, ImageSet

# Images, each with the positions of all images that are equal to it.
Found = list[tuple[list[int], int]]
HEAD = 4096  # bytes at the beginning of a file; nearly all photographs differ in them


def noted(train: ImageSet, test: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Return both sets. The notes of the training set say which images are there twice.

    Images in files are equal if their files are, and images in memory if all their pixels are. An
    image in a file is never equal to one in memory. Copies within the test set are not counted.

    Raises OSError for a file that cannot be read.
    """
    groups, count = _equal_images(train, test), len(train)
    labels = [*train.labels.tolist(), *test.labels.tolist()]
    kinds = [
        (
            f"of {len(test):,} test images are training images too: the results will look better "
            "than on new images",
            _in_both(groups, count),
        ),
        (
            f"of {count:,} training images are copies of others: some may be in training and "
            "validation at once",
            [(group, image) for group in groups for image in group[1:] if image < count],
        ),
        (
            f"of {len(labels):,} images have a copy in another class",
            [
                (group, image)
                for group in groups
                if len({labels[image] for image in group}) > 1
                for image in reversed(group)
            ],
        ),
    ]
    notes = _notes(kinds, {"train": train, "test": test})
    return replace(train, notes=(*train.notes, *notes)), test


def in_training(train: ImageSet, validation: ImageSet) -> list[str]:
    """Return a line that says which validation images are training images too, if any."""
    what = (
        f"of {len(validation):,} validation images are training images too: the temperature and "
        "the thresholds will not fit new images"
    )
    return _across(what, {"train": train, "validation": validation})


def in_validation(validation: ImageSet, test: ImageSet) -> list[str]:
    """Return a line that says which test images are validation images too, if any."""
    what = (
        f"of {len(test):,} test images are validation images too: the results will look better "
        "than on new images"
    )
    return _across(what, {"validation": validation, "test": test})


def _across(what: str, sets: Mapping[str, ImageSet]) -> list[str]:
    """Return the line of `_notes` for the second set's images that are in the first set too."""
    count = len(next(iter(sets.values())))
    return _notes([(what, _in_both(_equal_images(*sets.values(), across=True), count))], sets)


def _in_both(groups: list[list[int]], count: int) -> Found:
    """Return the images from position `count` on that are equal to one before it."""
    return [(group, image) for group in groups for image in group if group[0] < count <= image]


def _notes(kinds: Iterable[tuple[str, Found]], sets: Mapping[str, ImageSet]) -> list[str]:
    """Return a line for each kind of images of which there are some, with an example.

    Args:
        kinds: what the line says of these images; the images with their groups.
        sets: the two sets by their names, in the order of the positions.
    """
    notes = []
    for what, found in kinds:
        if found:
            group, image = found[0]
            name, other = _name(sets, image), _name(sets, group[0])
            why = f"equal to {other}" if name != other else "which is listed twice"
            notes.append(f"{len(found):,} {what} (such as {name}, {why})")
    return notes


def _equal_images(first: ImageSet, second: ImageSet, across: bool = False) -> list[list[int]]:
    """Return the positions of equal images, in order. The second set's follow the first set's.

    With `across`, only those that are in both sets.
    """
    files: dict[int, bytes] = {}
    pixels: dict[int, Tensor] = {}
    for part, start in ((first, 0), (second, len(first))):
        if isinstance(part, ImageFiles):
            files |= enumerate(part.paths, start)
        else:
            pixels |= enumerate(part.pixels, start)
    # Each key reads more of a file. So few files are read to their end, unless they are equal.
    keys = (os.path.getsize, lambda path: _digest(path, HEAD), _digest)
    count = len(first) if across else 0
    groups = _equal(files, keys, count)
    groups += _equal(
        pixels, [lambda image: hashlib.sha256(image.numpy().tobytes()).digest()], count
    )
    return groups


def _equal(
    images: Mapping[int, Any], keys: Iterable[Callable[[Any], Any]], across: int
) -> list[list[int]]:
    """Return the positions of images that have all keys in common.

    If `across` is not 0, only of those with a position below it and one from it on.
    """
    groups = [[*images]]
    for key in keys:
        smaller = []
        for group in groups:
            equal = defaultdict(list)
            for position in group:
                equal[key(images[position])].append(position)
            smaller += [
                positions
                for positions in equal.values()
                if len(positions) > 1 and (not across or positions[0] < across <= positions[-1])
            ]
        groups = smaller
    return groups


def _digest(path: bytes, length: int = -1) -> bytes:
    """Return a digest of the first bytes of a file, by default of all."""
    with open_regular(Path(os.fsdecode(path))) as file:
        return hashlib.sha256(file.read(length)).digest()


def _name(sets: Mapping[str, ImageSet], position: int) -> str:
    """Return the path of an image, or where it is in its array."""
    (split, part), second = sets.items()
    if position >= len(part):
        position -= len(part)
        split, part = second
    if isinstance(part, ImageFiles):
        return shown(part.paths[position])
    return f"images[{position}] of {split}"
