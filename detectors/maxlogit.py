"""MaxLogit (Hendrycks et al. 2022, arXiv 1911.11132)."""

from torch import Tensor

from .common import float64
from .contract import FitData, Fitted


def maxlogit(logits: Tensor) -> Tensor:
    """max ℓ [...] of logits ℓ [..., C]."""
    return float64(logits).amax(-1)


def fit_maxlogit(known: FitData) -> Fitted:
    return Fitted(lambda part: maxlogit(part.outputs["logits"]))
