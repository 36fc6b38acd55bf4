"""Warns of images that a user's data set holds more than once."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from utils.files import open_regular

from .folders import shown
from .streaming import ImageFiles, ImageSet


def noted(train: ImageSet, test: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Return both sets. The notes of the training set say which images are there twice.

    Images in files are equal if their files are, and images in memory if all their pixels are. An
    image in a file is never equal to one in memory.
    """
    equal: dict[bytes, list[int]] = {}  # digest → positions, those of training images first
    for position, digest in enumerate(_digests(train, test)):
        if digest:
            equal.setdefault(digest, []).append(position)
    pairs = [(first, other) for first, *others in equal.values() for other in others]
    count = len(train)
    labels = [*train.labels.tolist(), *test.labels.tolist()]
    kinds = {
        f"of {len(test):,} test images are training images too: the results will look better than "
        "on new images": [pair for pair in pairs if pair[0] < count <= pair[1]],
        f"of {count:,} training images are copies of others: some may train and also be held out": [
            pair for pair in pairs if pair[1] < count
        ],
        f"of {len(labels):,} images have a copy in another class": [
            (first, other) for first, other in pairs if labels[first] != labels[other]
        ],
    }
    notes = tuple(
        f"{len(found):,} {what} (such as {_name(train, test, found[0][1])}, equal to "
        f"{_name(train, test, found[0][0])})"
        for what, found in kinds.items()
        if found
    )
    return replace(train, notes=(*train.notes, *notes)), test


def _digests(*parts: ImageSet) -> Iterator[bytes]:
    """Yield a digest of each image; b"" for a file whose size no other file has."""
    sizes = [
        [os.path.getsize(path) for path in part.paths] if isinstance(part, ImageFiles) else []
        for part in parts
    ]
    files_of_size = Counter(size for of_part in sizes for size in of_part)
    for part, of_part in zip(parts, sizes, strict=True):
        if not isinstance(part, ImageFiles):
            yield from (b"memory" + _hash(pixels.numpy().tobytes()) for pixels in part.pixels)
            continue
        for path, size in zip(part.paths, of_part, strict=True):
            if files_of_size[size] == 1:
                yield b""
                continue
            with open_regular(Path(os.fsdecode(path))) as file:
                yield _hash(file.read())


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _name(train: ImageSet, test: ImageSet, position: int) -> str:
    """Return the path of an image, or where it is in its array."""
    split, part = "train", train
    if position >= len(train):
        split, part, position = "test", test, position - len(train)
    if isinstance(part, ImageFiles):
        return shown(part.paths[position])
    return f"images[{position}] of {split}"
