"""Energy (Liu et al. 2020, arXiv 2010.03759): minus the free energy, at temperature 1."""

from torch import Tensor

from .common import float64
from .contract import FitData, Fitted


def energy(logits: Tensor) -> Tensor:
    """Return log Σ exp ℓ [...] for logits ℓ [..., C]."""
    return float64(logits).logsumexp(-1)


def fit_energy(data: FitData) -> Fitted:
    """Return the detector whose score is the energy of the logits."""
    return Fitted(lambda images: energy(images.outputs["logits"]))
