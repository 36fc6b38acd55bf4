"""Energy (Liu et al. 2020, arXiv 2010.03759): the negative of the free energy, at temperature 1."""

from torch import Tensor

from .common import float64
from .contract import FitData, Fitted


def energy(logits: Tensor) -> Tensor:
    """log Σ exp ℓ [...] of logits ℓ [..., C]."""
    return float64(logits).logsumexp(-1)


def fit_energy(known: FitData) -> Fitted:
    return Fitted(lambda part: energy(part.outputs["logits"]))
