"""SCALE (Xu et al. 2024, arXiv 2310.00227): ASH-S without setting anything to zero."""

from torch import Tensor

from .ash import largest
from .common import energies, features_of
from .contract import Fitted, Known

PERCENTILE = 85  # the paper's


def scaled(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """f·exp(r) of features f [N, D], r = Σ f / Σ of the largest (100 - percentile) % of f."""
    _, ratio = largest(features, percentile)
    return features * ratio.exp()


def fit_scale(known: Known) -> Fitted:
    """Score: the energy of head(scaled(f))."""
    return Fitted(lambda part: energies(known.head, scaled(features_of(part))), {"percentile": PERCENTILE})
