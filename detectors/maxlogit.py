"""MaxLogit (Hendrycks et al. 2022, arXiv 1911.11132)."""

from torch import Tensor

from .common import float64
from .contract import FitData, Fitted


def maxlogit(logits: Tensor) -> Tensor:
    """Return max ℓ [...] for logits ℓ [..., C]."""
    return float64(logits).amax(-1)


def fit_maxlogit(data: FitData) -> Fitted:
    """Return the detector whose score is the largest logit."""
    return Fitted(lambda images: maxlogit(images.outputs["logits"]))
