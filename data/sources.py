"""Loads a data set by name or path: into memory, or as files where it is too large for that."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from . import builtin, copies, downloaded, files
from .catalog import (
    ARCHIVES,
    BUILT_IN,
    BUILT_IN_PARTNERS,
    DATA_SETS,
    OF_RECIPES,
    OUTSIDE,
    ROLES,
    DataSet,
    title_of,
)
from .images import Images, coloured, match_format
from .streaming import ImageFiles, ImageSet

PREFIX = "catalog:"  # before a name that is a path too
NAMES = (*DATA_SETS, *ARCHIVES, *OUTSIDE, *BUILT_IN)


def describe(source: str) -> DataSet:
    """The catalog's entry of an in-distribution set; for a path, one with the built-in
    out-of-distribution partners.

    Raises ValueError for what is neither a name in the catalog nor an existing folder.
    """
    if source in DATA_SETS:
        return DATA_SETS[source]
    if not Path(source).is_dir():
        raise ValueError(
            f"unknown data set {source!r}: choose from {', '.join(DATA_SETS)}, or give a folder "
            "with train and test"
        )
    return DataSet(title_of(source), BUILT_IN_PARTNERS)


def by_recipe(source: str, recipe: str | None) -> DataSet:
    """As `describe`, with what a recipe has in place of the set's own: network, partners, ..."""
    return replace(describe(source), **OF_RECIPES.get((recipe, source), {}))


def _role_and_source(given: str) -> tuple[str, str]:
    """ROLE=SOURCE in two; the role is "" where none is given."""
    role, _, source = given.partition("=")
    return (role, source) if role in ROLES else ("", given)


def absolute_source(given: str, root: Path) -> str:
    """The full name of a source, or ROLE=SOURCE, as a user types it.

    A path becomes absolute, so that a run has the same name from every folder. A name of the
    catalog stays, with or without `PREFIX`. Raises ValueError for a name without `PREFIX` that is
    also a path, since it could mean either. If `root` is the current folder, the catalog's own set
    there is not taken for such a path.
    """
    role, source = _role_and_source(given)
    prefix = f"{role}=" * bool(role)
    if source.startswith(PREFIX):
        if (name := source.removeprefix(PREFIX)) not in NAMES:
            raise ValueError(f"{source} is no set of the catalog: choose from {', '.join(NAMES)}")
        return prefix + name
    if not source or not Path(source).exists():
        return given
    if source not in NAMES:
        return prefix + str(Path(source).resolve())
    may_lie_here = source in copies.KNOWN or (source in DATA_SETS and DATA_SETS[source].side)
    its_own = may_lie_here and (root / source).exists()
    if not (its_own and (root / source).samefile(source)):
        raise ValueError(
            f"{source} is a set of the catalog and a path here: write ./{source} for the path, "
            f"{PREFIX}{source} for the set"
        )
    return given


def ood_sets(
    source: str, given: tuple[str, ...], recipe: str | None = None
) -> list[tuple[str, str]]:
    """(role, source) of the out-of-distribution sets: those given, as SOURCE or ROLE=SOURCE, or the
    recipe's or data set's own.

    Without a role, a set of its own keeps its role; others are far.
    """
    own = {name: role for role, name in by_recipe(source, recipe).partners}
    if not given:
        return [(role, name) for name, role in own.items()]
    chosen = []
    for item in given:
        role, name = _role_and_source(item)
        role = role or own.get(name, "far")
        if not name or name == source:
            raise ValueError(
                f"--ood {item} names {'the in-distribution set itself' if name else 'no set'}: "
                "give a name or a path"
            )
        if name in [earlier for _, earlier in chosen]:
            raise ValueError(f"the out-of-distribution set {name!r} is given twice")
        chosen.append((role, name))
    return chosen


def _class_folders(name: str, size: tuple[int, int], root: Path) -> tuple[ImageFiles, ImageFiles]:
    """The training and the validation images of a set of the catalog that its user puts into class
    folders.
    """
    entry, parts = DATA_SETS[name], {}
    for split in ("train", "val"):
        folder = root / name / split
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{entry.title} is not in {folder}: put its images there, a folder a class "
                f"({name}/train/CLASS/*.JPEG and "
                f"{name}/val/CLASS/*.JPEG, as for torchvision's ImageFolder), or name another "
                f"folder than {root} with --data-dir"
            )
        parts[split] = files.load_cropped(folder, size, entry.margin)
    return parts["train"], files.matched(parts["train"], parts["val"], root / name)


def load_in(source: str, root: Path) -> tuple[ImageSet, ImageSet]:
    """The training and the test split of an in-distribution set.

    Args:
        source: a name in the catalog, or a folder with `train` and `test`.
        root: where downloads lie, and what the paths in image lists are relative to.

    Raises ValueError for bad data, FileNotFoundError for data that is not there.
    """
    side = describe(source).side
    if source == "digits":
        train, test = builtin.digits()
    elif side:
        train, test = _class_folders(source, (side, side), root)
    elif source in DATA_SETS:
        train, test = downloaded.load(source, "train", root), downloaded.load(source, "test", root)
        numbers = tuple(map(str, range(len(train.classes))))
        # Of a copy with names, each split may number them in its own way.
        if numbers not in (train.classes, test.classes):
            test = files.matched(train, test, root / source)
    else:
        train, test = files.load_train_and_test(Path(source), root)
    if len(train.classes) < 2:
        raise ValueError(
            f"{source}: one class only ({train.classes[0]!r}), a classifier needs two or more"
        )
    if len(set(train.classes)) < len(train.classes):
        raise ValueError(
            f"{source}: class names are given twice ({', '.join(train.classes)}): give each class "
            "its own"
        )
    for split, part in (("train", train), ("test", test)):
        files.refuse_outside(part, f"{source}, {split}")
    return train, test


def reference(images: ImageSet) -> Tensor:
    """An image [1, 3, H, W] (uint8) that shows a set's size, and whether the set has colour: one
    with colour if there is any.

    A hundred images from all over the set are read first, and all of them only if those are grey.
    """
    for part in (images.take(limited(len(images), 100)), images):
        for pixels in part.batches(100):
            if (found := coloured(pixels)).any():
                return pixels[found][:1]
    return images.first(1)


def load_out(source: str, root: Path, reference: Tensor, margin: int = 0) -> ImageSet:
    """An out-of-distribution set, brought to the size and greyness of the reference images; its
    labels are -1.

    Args:
        source: a name in the catalog (its test split; of `OUTSIDE` all images), an .npz, an
            image list, or a folder with images.
        root: where downloads lie, and what the paths in image lists are relative to.
        reference: in-distribution images, uint8 [M, 3, H, W], such as `reference` gives.
        margin: of the in-distribution set, for images of other sizes.

    Raises ValueError for bad data or an unknown name, FileNotFoundError for data that is not there.
    """
    size, notes = tuple(reference.shape[-2:]), ()
    if source in BUILT_IN:
        pixels = {
            "digits89": builtin.digits89,
            "photos": lambda: builtin.photos(size),
            "noise": lambda: builtin.noise(size),
        }[source]()
    elif source == "digits":
        pixels = builtin.digits()[1].pixels
    elif source in OUTSIDE:
        pixels = torch.cat(
            [downloaded.load(source, split, root).pixels for split in ("train", "test")]
        )
    elif source in downloaded.TORCHVISION:
        part = downloaded.load(source, "test", root)
        pixels, notes = part.pixels, part.notes
    elif source in ARCHIVES:
        return _archive(source, root, reference, margin)
    elif Path(source).exists():
        return files.load_out(Path(source), reference, margin, root)
    else:
        raise ValueError(
            f"unknown out-of-distribution set {source!r}: choose from {', '.join(NAMES)}, or give "
            "an .npz, an image list (.txt) or a folder of images "
            f"(before it, if you like, {'=, '.join(ROLES)}=)"
        )
    # Those are made to size.
    pixels = match_format(pixels, reference, 0 if source in BUILT_IN else margin)
    return Images(pixels, torch.full((len(pixels),), -1), (), notes)


def _archive(name: str, root: Path, reference: Tensor, margin: int) -> ImageSet:
    archive = ARCHIVES[name]
    folder = root / archive.folder
    fetch = f"fetch it with `bash prepare-cifar.sh {name}`, or name the sets you have with --ood"
    if not folder.is_dir():
        raise FileNotFoundError(f"{archive.title} is not in {folder}: {fetch}")
    try:
        # An archive's other files are known.
        found = replace(files.load_out(folder, reference, margin), notes=())
    except ValueError as error:
        raise ValueError(f"{error}; or delete {folder} and {fetch}") from error
    if len(found) != archive.count:
        raise FileNotFoundError(
            f"{folder} holds {len(found)} images, {archive.title} has {archive.count}: {fetch}"
        )
    return found


def hold_out(train: ImageSet, share: float) -> tuple[ImageSet, ImageSet]:
    """A training set in two: what stays, and a stratified share held out. The same for every run
    and seed.

    Raises ValueError if a class has fewer than two images or the share less than one image a class.
    """
    count = math.ceil(share * len(train))
    try:
        stay, out = train_test_split(
            np.arange(len(train)), test_size=count, stratify=train.labels, random_state=0
        )
    except ValueError as error:
        raise ValueError(
            f"cannot hold out {count} of {len(train)} training images for validation "
            f"({str(error).split('.')[0]}): "
            "take more images, or --protocol paper"
        ) from error
    return train.take(torch.from_numpy(stay)), train.take(torch.from_numpy(out))


def limited(count: int, limit: int | None) -> Tensor:
    """The positions, in order, of at most `limit` of `count` images: always the same ones, drawn
    from all over the set.
    """
    if limit is None or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:limit].sort().values
