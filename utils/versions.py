"""Versions of networks, losses, recipes, data and detectors, and what changed with each.

A run's configuration, its checkpoints and its model.pt name the versions that they were made with.
What they do not name had version 1. Whoever changes results adds a `Change` here, which raises the
version. (One has none: since 2026-11-29 features of zeros are farther from DisMax's and IsoMax+'s
prototypes. No network of a record is known to give such features.) Imports no torch.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """What one version of a part changed."""

    what: str  # a sentence without a full stop
    other_function: bool = False  # whether the same weights now give other outputs
    other_images: bool = False  # whether a network now gets other pixels from the same files


ZERO_START = "the last batch norm of each block starts at weight 0"
GODIN_START = "the rows of h's weight start at a length of about 1.41"

# Part (a network family, a loss, a recipe, a data set, a detector) → its versions from 2 on.
CHANGES: dict[str, tuple[Change, ...]] = {
    # Networks, by family.
    "resnet": (Change(ZERO_START),),
    "resnet_imagenet": (Change(ZERO_START),),
    "wideresnet": (
        Change(
            "the stride is in a block's second 3×3 convolution, and the shortcut is a convolution "
            "of the block's raw input",
            other_function=True,
        ),
    ),
    # Losses.
    "softmax": (Change("the bias starts at 0"),),
    "dismax": (
        Change(
            "an odd batch has its extra image among the mosaics, and the top-right and "
            "bottom-left quadrants changed places",
        ),
    ),
    "scaledcosine": (Change("only the class weights train without weight decay"),),
    "godin": (Change(GODIN_START),),
    "godin_inner": (Change(f"{GODIN_START}, and its bias at 0"),),
    "godin_euclidean": (Change("h is a mean over the dimensions, not a sum", other_function=True),),
    "godin_dropout": (Change(GODIN_START),),
    "duq": (
        Change("the weights and centroids start, and the penalty counts, as in DUQ's own code"),
    ),
    "sngp": (
        Change(
            "the posterior has the ridge, the length scale and the mean-field factor of SNGP's "
            "own code",
            other_function=True,
        ),
    ),
    # Recipes.
    "openood": (
        Change(
            "layers start as PyTorch's own do, and images are normalised with OpenOOD's constants",
            other_images=True,
        ),
    ),
    # Data.
    "mnist": (Change("the set has the training images too", other_images=True),),
    "resizing": (Change("the longer side of a resized image is rounded down", other_images=True),),
    # Detectors.
    "combined": (
        Change("KNN is a member"),
        Change("for thresholds, each held-out image is ranked among the others only"),
    ),
    "scale": (Change("the number of pruned features is rounded to the nearest"),),
    "mahalanobis_layers": (
        Change(
            "the stem counts as a layer, noisy and attacked pixels are clamped, and only images "
            "that the attack fools count"
        ),
    ),
    "odin": (Change("ε is 0.0014 by default"),),
    "preprocessing": (Change("ε is chosen from a list that begins with 0"),),
}


# Data and recipe → those of their out-of-distribution sets that have versions, if a configuration
# names none. (The catalog has all sets, but imports torch.)
OPENOOD_SETS = ("mnist", "textures", "places365")
DEFAULT_SETS = {("cifar10", "openood"): OPENOOD_SETS, ("cifar100", "openood"): OPENOOD_SETS}
NOT_SQUARE = {"imagenet1k", "textures", "places365", "imagenet_o"}  # in the catalog


def of(name: str) -> int:
    """The current version of a part: a network family, a loss, a recipe, a data set, a detector."""
    return 1 + len(CHANGES.get(name, ()))


def loss_of(config: Mapping[str, Any]) -> str:
    """The loss that a configuration names; for an ensemble, the loss of its members.

    It is "" for outputs of another program: its method's name may be that of one of our parts.
    """
    if "outputs" in config:
        return ""
    loss = config["loss"]
    return "softmax" if loss == "ensemble" else loss.removeprefix("ensemble_")


def _parts(config: Mapping[str, Any]) -> set[str]:
    """All parts that a configuration (as JSON) names."""
    sets = [source.partition("=")[2] or source for source in config["ood"]]
    sets = sets or [*DEFAULT_SETS.get((config["data"], config["recipe"]), ())]
    family = re.sub(r"\d+", "", str(config["model"]))
    parts = {family, loss_of(config), str(config["recipe"]), *sets}
    # A user's own images may have any shape: out-of-distribution sets, and with --size all images.
    own = config.get("size") is not None or any("/" in name for name in sets)
    if own or NOT_SQUARE & {config["data"], *sets}:
        parts.add("resizing")
    return parts


def current(config: Mapping[str, Any]) -> dict[str, int]:
    """The version of each part of a configuration (as JSON), where it is above 1."""
    return {name: of(name) for name in sorted(_parts(config)) if of(name) > 1}


def outdated(config: Mapping[str, Any]) -> dict[str, str]:
    """Part → what changed, for each part of a configuration (as JSON) whose version has changed."""
    versions = _versions(config)
    names = sorted({*versions, *current(config)})
    return {
        name: _describe(name, versions.get(name, 1))
        for name in names
        if versions.get(name, 1) != of(name)
    }


def other_function(config: Mapping[str, Any]) -> list[str]:
    """Reasons why weights of this configuration (as JSON) would now give other outputs."""
    return _reasons(config, lambda change: change.other_function)


def other_images(config: Mapping[str, Any]) -> list[str]:
    """Reasons why a network of this configuration (as JSON) would now get other images."""
    return _reasons(config, lambda change: change.other_images)


def _reasons(config: Mapping[str, Any], matters: Callable[[Change], bool]) -> list[str]:
    """What changed in each outdated part, if at least one change since its version matters.

    A part from a later version of this code is always included, because its changes are unknown.
    """
    versions = _versions(config)
    reasons = []
    for name, reason in outdated(config).items():
        version = versions.get(name, 1)
        if version > of(name) or any(matters(change) for change in _changes_since(name, version)):
            reasons.append(reason)
    return reasons


def _versions(config: Mapping[str, Any]) -> dict[str, int]:
    """The versions that a configuration names. Raises ValueError if they are damaged."""
    versions = config.get("versions", {})
    if not isinstance(versions, dict) or not all(
        type(version) is int and version > 0 for version in versions.values()
    ):
        raise ValueError(
            "the versions in a configuration are a name and a whole number each, got "
            f"{versions!r:.80}"
        )
    return versions


def _changes_since(name: str, version: int) -> tuple[Change, ...]:
    """The changes of a part after a version."""
    return CHANGES.get(name, ())[version - 1 :]


def _describe(name: str, version: int) -> str:
    """A part in another version, and what has changed since."""
    changes = "; ".join(change.what for change in _changes_since(name, version))
    since = f"since then, {changes}" if changes else f"this is version {of(name)}"
    return f"{name} version {version} ({since})"
