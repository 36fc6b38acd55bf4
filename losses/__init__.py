"""The table of losses. Each loss has a first part (the head, the classifier's last layer) and a
second part (the criterion).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import scores
from .contract import LossFirstPart
from .criterion import LossSecondPart
from .dismax import DisMaxLossFirstPart, DisMaxLossSecondPart
from .duq import DUQLossFirstPart, DUQLossSecondPart
from .godin import DROPOUT, GODINLossFirstPart, GODINLossSecondPart
from .isomax import IsoMaxLossFirstPart, IsoMaxLossSecondPart
from .isomaxplus import IsoMaxPlusLossFirstPart, IsoMaxPlusLossSecondPart
from .replacement import replace_classifier
from .scaledcosine import ScaledCosineLossFirstPart, ScaledCosineLossSecondPart
from .sngp import SNGPLossFirstPart, SNGPLossSecondPart
from .softmax import SoftMaxLossFirstPart, SoftMaxLossSecondPart
from .spectral import bound_convolutions
from .thresholds import PERCENTILES


@dataclass(frozen=True)
class Loss:
    """A row of the table of losses."""

    title: str  # the name in tables of results
    head: Callable[[int, int], LossFirstPart]  # makes the head from (num_features, num_classes)
    criterion: Callable[[Any], LossSecondPart]  # makes the criterion from the head
    # Changes a new network in place, as the method needs, and returns it.
    wrap: Callable[[Any], Any] = lambda model: model


LOSSES = {
    "softmax": Loss("SoftMax", SoftMaxLossFirstPart, SoftMaxLossSecondPart),
    "isomax": Loss("IsoMax", IsoMaxLossFirstPart, IsoMaxLossSecondPart),
    "isomaxplus": Loss("IsoMax+", IsoMaxPlusLossFirstPart, IsoMaxPlusLossSecondPart),
    "dismax": Loss("DisMax", DisMaxLossFirstPart, DisMaxLossSecondPart),
    "dismax_nofpr": Loss(
        "DisMax without FPR",
        DisMaxLossFirstPart,
        partial(DisMaxLossSecondPart, regularization=None),
    ),
    "scaledcosine": Loss("Scaled Cosine", ScaledCosineLossFirstPart, ScaledCosineLossSecondPart),
    "godin": Loss("GODIN", GODINLossFirstPart, GODINLossSecondPart),
    "godin_inner": Loss(
        "GODIN, inner product", partial(GODINLossFirstPart, form="inner"), GODINLossSecondPart
    ),
    "godin_euclidean": Loss(
        "GODIN, Euclidean", partial(GODINLossFirstPart, form="euclidean"), GODINLossSecondPart
    ),
    "godin_dropout": Loss(
        "GODIN, dropout", partial(GODINLossFirstPart, dropout=DROPOUT), GODINLossSecondPart
    ),
    "duq": Loss("DUQ", DUQLossFirstPart, DUQLossSecondPart),
    "sngp": Loss("SNGP", SNGPLossFirstPart, SNGPLossSecondPart, bound_convolutions),
}


def get_loss(name: str) -> Loss:
    """Return the loss of this name. Raises ValueError with the choices for an unknown name."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}: choose from {', '.join(LOSSES)}")
    return LOSSES[name]


__all__ = [
    "LOSSES",
    "PERCENTILES",
    "DUQLossFirstPart",
    "DUQLossSecondPart",
    "DisMaxLossFirstPart",
    "DisMaxLossSecondPart",
    "GODINLossFirstPart",
    "GODINLossSecondPart",
    "IsoMaxLossFirstPart",
    "IsoMaxLossSecondPart",
    "IsoMaxPlusLossFirstPart",
    "IsoMaxPlusLossSecondPart",
    "Loss",
    "LossFirstPart",
    "LossSecondPart",
    "SNGPLossFirstPart",
    "SNGPLossSecondPart",
    "ScaledCosineLossFirstPart",
    "ScaledCosineLossSecondPart",
    "SoftMaxLossFirstPart",
    "SoftMaxLossSecondPart",
    "bound_convolutions",
    "get_loss",
    "replace_classifier",
    "scores",
]
