"""Users' own copies of known data sets.

A copy from anywhere counts as the real set if its content is right.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from . import files
from .catalog import title_of
from .images import Images

SIZE = (32, 32)  # of all their images


@dataclass(frozen=True)
class Contents:
    """What one split of a data set holds. `checksum` is None where nobody has computed it yet."""

    images: int
    classes: int
    checksum: str | None = None


KNOWN = {
    "cifar10": {
        "train": Contents(50_000, 10, "2c035c53cf357f82"),
        "test": Contents(10_000, 10, "58b695a9064f71e1"),
    },
    "cifar100": {"train": Contents(50_000, 100), "test": Contents(10_000, 100, "530d9f40e4bd736d")},
    "svhn": {"train": Contents(73_257, 10), "test": Contents(26_032, 10)},
}


def checksum(images: Images) -> str:
    """16 hexadecimal digits of all pixels and labels, which do not depend on the order of the
    images.

    The checksum is the sum, modulo 2^64, of a 64-bit BLAKE2b hash of each image: its label as 8
    bytes, then its pixels [3, H, W].
    """
    total = 0
    for pixels, label in zip(images.pixels, images.labels.tolist(), strict=True):
        image = label.to_bytes(8, "little") + pixels.contiguous().numpy().tobytes()
        total += int.from_bytes(hashlib.blake2b(image, digest_size=8).digest(), "little")
    return f"{total % 2**64:016x}"


def has(name: str, split: str, root: Path) -> bool:
    """Whether there is a copy of a set's train or test split below `root`."""
    return name in KNOWN and any(
        (root / name / f"{split}{ending}").exists() for ending in ("", ".npz")
    )


def load(name: str, split: str, root: Path) -> Images:
    """A copy of a set's train or test split, from ROOT/NAME/SPLIT.npz or class folders in
    ROOT/NAME/SPLIT.

    Raises ValueError if it does not hold that split. A copy that cannot be verified has a note that
    says so.
    """
    known, path = KNOWN[name][split], root / name / f"{split}.npz"
    if path.is_file():
        found = files.load_npz(path)
    else:
        path = path.with_suffix("")
        found = files.load_split(path)
    labels = sorted({*found.labels.tolist()})
    height, width = found.size
    held = (
        f"{len(found)} images of {height}×{width} pixels, with labels from {labels[0]} to "
        f"{labels[-1]}"
    )
    wanted = (
        f"{known.images} images of {SIZE[0]}×{SIZE[1]} pixels, with labels from 0 to "
        f"{known.classes - 1}"
    )
    what = f"{path} is not the {split} split of {title_of(name)}"
    way_out = (
        f"name its folder, --data {root / name}, to train on it as a set of your own, or take "
        "another copy"
    )
    if len(found) != known.images or found.size != SIZE or labels != [*range(known.classes)]:
        raise ValueError(f"{what}: it holds {held}, instead of {wanted}; {way_out}")
    found = replace(found, classes=found.classes or tuple(map(str, range(known.classes))))
    if known.checksum is None:
        note = (
            f"{path} is unverified: nobody has computed the checksum of this split of "
            f"{title_of(name)} yet"
        )
        return replace(found, notes=(*found.notes, note))
    if checksum(found) != known.checksum:
        raise ValueError(
            f"{what}: its pixels or labels differ (are the classes in the usual order?); {way_out}"
        )
    return found
