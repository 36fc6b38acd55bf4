"""The entries of the catalog: what is known of a data set, and how it is loaded and downloaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from .streaming import ImageSet

# How far an out-of-distribution set is from the in-distribution set; the paper's table has these
# groups.
ROLES = ("near", "far", "very_far")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set that can be loaded as an out-of-distribution set.

    Args:
        name: on the command line.
        title: in tables and messages.
        load_ood: takes the data directory, in-distribution images as a reference for the format
            (uint8 [M, 3, H, W]), and the in-distribution set's margin. Returns the images in this
            format, with labels -1.
        download: downloads the files into a data directory; None if they cannot be downloaded.
        in_own_folder: whether a user may put the images into a folder of the data directory that
            has the set's name.
        archive_folder: the folder of the data directory that an archive is unpacked into.
    """

    name: str
    title: str
    load_ood: Callable[[Path, Tensor, int], ImageSet]
    download: Callable[[Path], None] | None = None
    in_own_folder: bool = False
    archive_folder: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSet(DataSet):
    """A data set that can also be trained on, with its defaults for training.

    Args:
        load: takes the data directory. Returns the training and the test set.
        load_validation: takes the data directory, the training and the test set. Returns the images
            for validation; None: the held-out protocol takes some of the training images.
        ood_sets: (role, name) of the out-of-distribution sets that it is tested against.
        mean: of the channels in [0, 1]; None: it is measured on the training images.
        std: likewise.
        flip: whether a mirrored image still belongs to its class.
        validation: share of the training images that the held-out protocol takes for validation.
        least_validation: number of images that this share has at least. But it never is more than
            a quarter of the training images.
        recipe: for training.
        model: name of the network.
        epochs: of a run.
        side: height and width of the network's images if the files have any size, else None.
        margin: how much longer than `side` an evaluated image's shorter side is before its centre
            is cropped.
        recipes: recipe → the fields that it changes.
    """

    load: Callable[[Path], tuple[ImageSet, ImageSet]]
    ood_sets: tuple[tuple[str, str], ...]
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    flip: bool = True
    validation: float = 0.1
    least_validation: int = 0
    recipe: str = "paper"
    model: str = "densenetbc100"
    epochs: int = 300
    side: int | None = None
    margin: int = 0
    load_validation: Callable[[Path, ImageSet, ImageSet], ImageSet] | None = None
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
