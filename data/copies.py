"""Users' own copies of data sets that torchvision reads.

A copy from anywhere is accepted if it holds the right images and labels.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from . import files, npz
from .images import Images
from .streaming import ImageFiles


@dataclass(frozen=True)
class Contents:
    """What one split of a data set holds."""

    images: int
    classes: int
    checksum: str | None = None  # see `checksum`; None: it has not been computed yet
    size: tuple[int, int] = (32, 32)  # (height, width) of all images


def checksum(images: Images) -> str:
    """Return a checksum of all pixels and labels, as 16 hexadecimal digits.

    It does not depend on the order of the images: it is the sum, modulo 2^64, of a 64-bit BLAKE2b
    hash of each image. What is hashed is the label as 8 bytes, then the pixels [3, H, W].
    """
    total = 0
    for pixels, label in zip(images.pixels, images.labels.tolist(), strict=True):
        image = label.to_bytes(8, "little") + pixels.contiguous().numpy().tobytes()
        total += int.from_bytes(hashlib.blake2b(image, digest_size=8).digest(), "little")
    return f"{total % 2**64:016x}"


def exists(name: str, split: str, root: Path) -> bool:
    """Return whether there is a copy of a split: ROOT/NAME/SPLIT.npz, or a folder without .npz."""
    return any((root / name / f"{split}{ending}").exists() for ending in ("", ".npz"))


def load(name: str, title: str, split: str, contents: Contents, root: Path) -> Images:
    """Return a copy of a split, from ROOT/NAME/SPLIT.npz or class folders in ROOT/NAME/SPLIT.

    If the copy cannot be verified, its notes say so.

    Args:
        name: of the data set in the catalog.
        title: of the data set in messages.
        split: "train" or "test".
        contents: what the copy must hold.
        root: the data directory.

    Raises ValueError if the copy does not hold that split.
    """
    path = root / name / f"{split}.npz"
    if path.is_file():
        images = npz.load(path)
    else:
        path = path.with_suffix("")
        images = files.load_split(path)
        if isinstance(images, ImageFiles):
            images = images.decoded()
    problem = f"{path} is not the {split} split of {title}"
    remedy = (
        f"name its folder, --data {root / name}, to train on it as a data set of your own, or take "
        "another copy"
    )
    labels = sorted(set(images.labels.tolist()))
    if (
        len(images) != contents.images
        or images.size != contents.size
        or labels != list(range(contents.classes))
    ):
        actual = _summary(len(images), images.size, labels[0], labels[-1])
        expected = _summary(contents.images, contents.size, 0, contents.classes - 1)
        raise ValueError(f"{problem}: it holds {actual}, instead of {expected}; {remedy}")
    images = replace(images, classes=images.classes or tuple(map(str, range(contents.classes))))
    if contents.checksum is None:
        note = f"{path} is not verified: the checksum of this split of {title} is not known yet"
        return replace(images, notes=(*images.notes, note))
    if checksum(images) != contents.checksum:
        raise ValueError(
            f"{problem}: its pixels or labels differ (are the classes in the usual order?); "
            f"{remedy}"
        )
    return images


def _summary(count: int, size: tuple[int, int], first_label: int, last_label: int) -> str:
    height, width = size
    return (
        f"{count} images of {height}×{width} pixels, with labels from {first_label} to {last_label}"
    )
