"""Versions of networks, losses, recipes, data and detectors, and what changed with each.

A run's configuration, its checkpoints and its model.pt keep the versions that they were made with.
What they do not name was of version 1. Raise a version here whenever a change gives other results.
Imports no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """The last change of one part."""

    version: int
    what: str  # a sentence without its full stop
    other_function: bool = False  # whether the same weights now give other outputs


ZERO_START = "the last batch norm of each block starts at weight 0"
GODIN_START = "the rows of h's weight start at a length of about 1.41"

CHANGES = {
    # Networks, by family.
    "resnet": Change(2, ZERO_START),
    "resnet_imagenet": Change(2, ZERO_START),
    "wideresnet": Change(
        2,
        "the stride is in a block's second 3×3 convolution, and the shortcut is a convolution of the "
        "block's raw input",
        other_function=True,
    ),
    # Losses.
    "softmax": Change(2, "the bias starts at 0"),
    "dismax": Change(
        2,
        "an odd batch has its extra image among the mosaics, and the top-right and bottom-left "
        "quadrants changed places",
    ),
    "scaledcosine": Change(2, "only the class weights train without weight decay"),
    "godin": Change(2, GODIN_START),
    "godin_inner": Change(2, f"{GODIN_START}, and its bias at 0"),
    "godin_euclidean": Change(2, "h is a mean over the dimensions, not a sum", other_function=True),
    "godin_dropout": Change(2, GODIN_START),
    "duq": Change(2, "the weights and centroids start, and the penalty counts, as in DUQ's own code"),
    "sngp": Change(
        2,
        "the posterior has the ridge, the length scale and the mean-field factor of SNGP's own code",
        other_function=True,
    ),
    # Recipes.
    "openood": Change(
        2, "layers start as PyTorch's own do, and images are normalised with OpenOOD's constants"
    ),
    # Data.
    "mnist": Change(2, "the set has the training images too"),
    "resizing": Change(2, "the longer side of a resized image is rounded down"),
    # Detectors.
    "scale": Change(2, "the number of pruned features is rounded to the nearest"),
    "mahalanobis_layers": Change(
        2, "the stem counts as a layer, and adversarial images are chosen as in the paper"
    ),
    "odin": Change(2, "ε is 0.0014 by default"),
    "preprocessing": Change(2, "ε is chosen from a list that begins with 0"),
}


def of(name: str) -> int:
    """The current version of a network's family, a loss, a recipe or a detector."""
    return CHANGES[name].version if name in CHANGES else 1


def loss_of(config: Mapping[str, Any]) -> str:
    """The loss of a configuration; of an ensemble its members'."""
    loss = config["loss"]
    return "softmax" if loss == "ensemble" else loss.removeprefix("ensemble_")


def _parts(config: Mapping[str, Any]) -> set[str]:
    """Everything with a version that a configuration (as JSON) names."""
    sets = [source.partition("=")[2] or source for source in config["ood"]]
    parts = {re.sub(r"\d+", "", str(config["model"])), loss_of(config), str(config["recipe"]), *sets}
    # Their images, and those of a user's folder, can be of any shape. All other sets are square.
    shapes = {"imagenet1k", "textures", "places365", "imagenet_o"}
    folders = [each for each in sets if "/" in each and not each.endswith(".npz")]
    if folders or shapes & {config["data"], *sets}:
        parts.add("resizing")
    return parts


def current(config: Mapping[str, Any]) -> dict[str, int]:
    """The version of each part of a configuration (as JSON), where it is above 1."""
    return {name: of(name) for name in sorted(_parts(config)) if of(name) > 1}


def outdated(config: Mapping[str, Any]) -> dict[str, str]:
    """Each part of a configuration (as JSON) that has another version now, with what changed."""
    held, here = config.get("versions", {}), current(config)
    return {
        name: f"{name} version {held.get(name, 1)}"
        + (f" (since version {of(name)}, {CHANGES[name].what})" if name in CHANGES else "")
        for name in sorted({*held, *here})
        if held.get(name, 1) != of(name)
    }


def other_function(config: Mapping[str, Any]) -> list[str]:
    """Why weights of this configuration (as JSON) would now give other outputs, if they would."""
    return [
        reason
        for name, reason in outdated(config).items()
        if name not in CHANGES or CHANGES[name].other_function
    ]
