"""Loads a data set by its source: a name in the catalog, or a path to a user's own images."""

from collections.abc import Iterable
from dataclasses import replace
from os.path import realpath
from pathlib import Path

from torch import Tensor

from . import classes, files, layout, train_and_test
from .catalog import BUILT_IN_OOD_SETS, CATALOG, named_path, title_of
from .entries import ROLES, TrainingSet
from .folders import refuse_dead_link
from .images import has_colour
from .splits import limited
from .streaming import ImageSet

# How much longer the shorter side is before the centre is cropped: 256 for 224, as for ImageNet.
MARGIN = 32 / 224
# With fewer held-out images, the threshold for 95 % is almost the lowest of their scores.
LEAST_VALIDATION = 100
PREFIX = "catalog:"  # before a name that is also a path


def entry_of(source: str, recipe: str | None = None, size: int | None = None) -> TrainingSet:
    """Return the catalog entry of a data set to train on, with the changes of a recipe.

    For a folder, return an entry with the defaults and the built-in out-of-distribution sets.

    Args:
        source: a name in the catalog, or a folder.
        recipe: of the run.
        size: for a folder of images of any size: height and width of the network's images.

    Raises ValueError if the source is neither a name in the catalog nor a folder, and for a size of
    a set in the catalog.
    """
    entry = CATALOG.get(source)
    if isinstance(entry, TrainingSet):
        if size is not None:
            raise ValueError(
                f"--size is for a folder of your own images, and {source} has its own: leave it out"
            )
        return replace(entry, **entry.recipes.get(recipe or "", {}))
    path = Path(source)
    refuse_dead_link(path)
    if not path.is_dir():
        names = [name for name, each in CATALOG.items() if isinstance(each, TrainingSet)]
        if path.parent != Path():
            raise ValueError(
                f"{source} is no folder: name one that holds train and test, or class folders"
            )
        raise ValueError(
            f"unknown data set {source!r}: choose from {', '.join(names)}, or give a folder with "
            "train and test, or with class folders"
        )
    folder = TrainingSet(
        name=source,
        title=title_of(source),
        load=lambda root: train_and_test.load_train_and_test(path, root),
        load_ood=lambda root, reference, margin: files.load_ood(path, reference, margin, root),
        ood_sets=BUILT_IN_OOD_SETS,
    )
    own = layout.find_validation(path, cropped=size is not None)
    if size is None:
        validation = train_and_test.validation_loader(own, train_and_test.load_at)
        return replace(folder, load_validation=validation)
    margin = round(size * MARGIN)
    return replace(
        folder,
        load=lambda root: train_and_test.load_cropped_train_and_test(path, (size, size), margin),
        load_validation=train_and_test.validation_loader(
            own, lambda place, root: files.load_cropped(place, (size, size), margin)
        ),
        side=size,
        margin=margin,
        recipe="imagenet",
        model="resnet18_imagenet",
        least_validation=LEAST_VALIDATION,
    )


def role_and_source(text: str) -> tuple[str, str]:
    """Return the role and the source of ROLE=SOURCE; the role is "" if there is none."""
    role, _, source = text.partition("=")
    return (role, source) if role in ROLES else ("", text)


def absolute_source(text: str, root: Path) -> str:
    """Return a user's source, or ROLE=SOURCE, with a path made absolute.

    A run then has the same name from every folder. A name of the catalog stays, and loses `PREFIX`
    if it has it.

    Args:
        text: what the user typed.
        root: the data directory. If it is the current folder, the path and the name of a set that
            is there mean the same set, and the name is kept.

    Raises ValueError for a name without `PREFIX` that is also a path, since it could mean either.
    """
    role, source = role_and_source(text)
    role_prefix = f"{role}=" if role else ""
    if source.startswith(PREFIX):
        name = source.removeprefix(PREFIX)
        if name not in CATALOG:
            raise ValueError(f"{source} is no set of the catalog: choose from {', '.join(CATALOG)}")
        return role_prefix + name
    if not source or not Path(source).exists():
        return text
    if source not in CATALOG:
        return role_prefix + str(named_path(source))
    own_folder = root / source
    is_own_folder = (
        CATALOG[source].in_own_folder and own_folder.exists() and own_folder.samefile(source)
    )
    if not is_own_folder:
        raise ValueError(
            f"{source} is a set of the catalog and a path here: write ./{source} for the path, "
            f"{PREFIX}{source} for the set"
        )
    return text


def _place(source: str) -> str:
    """Return a set's name in the catalog, or the path that its links lead to."""
    return source if source in CATALOG else realpath(source)


def _shared_place(places: Iterable[Path], name: str) -> Path | None:
    """Return what holds in-distribution images and is an OOD set, is in it, or has it inside."""
    if name in CATALOG:
        return None
    other = Path(name).resolve()
    for place in places:
        own = place.resolve()
        inside = place.is_dir() and (own.is_relative_to(other) or other.is_relative_to(own))
        if own == other or inside:
            return place
    return None


def ood_sets(
    source: str, chosen: tuple[str, ...], recipe: str | None = None
) -> list[tuple[str, str]]:
    """Return the (role, source) of the out-of-distribution sets.

    These are the chosen ones, or those of the data set and the recipe if none are chosen.

    Args:
        source: of the in-distribution set.
        chosen: each is SOURCE or ROLE=SOURCE. Without a role, one of the data set's own
            out-of-distribution sets keeps its role; all others are far.
        recipe: of the run.
    """
    default_roles = {name: role for role, name in entry_of(source, recipe).ood_sets}
    if not chosen:
        return [(role, name) for name, role in default_roles.items()]
    roles: dict[str, str] = {}
    in_folder = source not in CATALOG and Path(source).is_dir()
    places = layout.places(Path(source)) if in_folder else []
    for text in chosen:
        role, name = role_and_source(text)
        if not name or _place(name) == _place(source):
            problem = "the in-distribution set itself" if name else "no set"
            raise ValueError(f"--ood {text} names {problem}: give a name or a path")
        if shared := _shared_place(places, name):
            raise ValueError(
                f"--ood {text} holds images of the in-distribution set, which are in {shared}: "
                "name another folder"
            )
        if twin := next((each for each in roles if _place(each) == _place(name)), ""):
            same = "" if twin == name else f": {twin!r} is the same"
            raise ValueError(f"the out-of-distribution set {name!r} is given twice{same}")
        roles[name] = role or default_roles.get(name, "far")
    return [(role, name) for name, role in roles.items()]


def load_train_and_test(
    source: str, root: Path, size: int | None = None
) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set of an in-distribution set.

    Args:
        source: a name in the catalog, or a folder: see `train_and_test`.
        root: the data directory: downloads are there, and paths in image lists are relative to it.
        size: as in `entry_of`.

    Raises ValueError for bad data, FileNotFoundError for missing data.
    """
    train, test = entry_of(source, size=size).load(root)
    classes.refuse_bad_names(train.classes, source)
    classes.refuse_wrong_labels(train, f"{source}, train")
    classes.refuse_wrong_labels(test, f"{source}, test")
    return train, test


def load_ood(source: str, root: Path, reference: Tensor, margin: int = 0) -> ImageSet:
    """Return an out-of-distribution set in the format of the reference images; its labels are -1.

    Args:
        source: a name in the catalog, an .npz, an image list, or a folder with images.
        root: the data directory: downloads are there, and paths in image lists are relative to it.
        reference: in-distribution images, uint8 [M, 3, H, W], for example from `reference_image`.
        margin: of the in-distribution set; see `images.resize_and_center_crop`.

    Raises ValueError for bad data or an unknown name, FileNotFoundError for missing data.
    """
    if source in CATALOG:
        return CATALOG[source].load_ood(root, reference, margin)
    if Path(source).exists():
        return files.load_ood(Path(source), reference, margin, root)
    refuse_dead_link(source)
    raise ValueError(
        f"unknown out-of-distribution set {source!r}: choose from {', '.join(CATALOG)}, or give "
        "an .npz, an image list (.txt) or a folder of images "
        f"(a role may stand before it: {'=, '.join(ROLES)}=)"
    )


def reference_image(images: ImageSet) -> Tensor:
    """Return one image [1, 3, H, W] (uint8) that shows the format of a set.

    It has the set's size, and it has colour if any image of the set has colour. A hundred images
    from all over the set are read first, and all images only if those are grey.
    """
    for part in (images.take(limited(len(images), 100)), images):
        for pixels in part.batches(100):
            coloured = pixels[has_colour(pixels)]
            if len(coloured):
                return coloured[:1]
    return images.first(1)


def validation_share(entry: TrainingSet, count: int) -> float:
    """Return the share of `count` training images that is held out for validation."""
    return max(entry.validation, min(0.25, entry.least_validation / count))
