"""The losses, each a first part (the classifier's last layer) and a second part (the criterion), and their one table."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import scores
from .contract import PERCENTILES, LossFirstPart, LossSecondPart
from .dismax import DisMaxLossFirstPart, DisMaxLossSecondPart
from .isomax import IsoMaxLossFirstPart, IsoMaxLossSecondPart
from .isomaxplus import IsoMaxPlusLossFirstPart, IsoMaxPlusLossSecondPart
from .softmax import SoftMaxLossFirstPart, SoftMaxLossSecondPart


@dataclass(frozen=True)
class Loss:
    """One row of the table: the name results go by, and the two parts."""

    title: str
    head: Callable[[int, int], LossFirstPart]  # (num_features, num_classes)
    criterion: Callable[[LossFirstPart], LossSecondPart]


LOSSES = {
    "softmax": Loss("SoftMax", SoftMaxLossFirstPart, SoftMaxLossSecondPart),
    "isomax": Loss("IsoMax", IsoMaxLossFirstPart, IsoMaxLossSecondPart),
    "isomaxplus": Loss("IsoMax+", IsoMaxPlusLossFirstPart, IsoMaxPlusLossSecondPart),
    "dismax": Loss("DisMax", DisMaxLossFirstPart, DisMaxLossSecondPart),
    "dismax_nofpr": Loss("DisMax without FPR", DisMaxLossFirstPart, partial(DisMaxLossSecondPart, regularization=None)),
}


def get_loss(name: str) -> Loss:
    """The table's row. Raises ValueError with the choices for an unknown name."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}: choose from {', '.join(LOSSES)}")
    return LOSSES[name]


__all__ = [
    "LOSSES",
    "PERCENTILES",
    "DisMaxLossFirstPart",
    "DisMaxLossSecondPart",
    "IsoMaxLossFirstPart",
    "IsoMaxLossSecondPart",
    "IsoMaxPlusLossFirstPart",
    "IsoMaxPlusLossSecondPart",
    "Loss",
    "LossFirstPart",
    "LossSecondPart",
    "SoftMaxLossFirstPart",
    "SoftMaxLossSecondPart",
    "get_loss",
    "scores",
]
