"""SCALE (Xu et al. 2024, arXiv 2310.00227): ASH-S without setting anything to zero."""

from torch import Tensor

from .ash import largest, sharpening
from .common import energies, features_of
from .contract import FitData, Fitted

PERCENTILE = 85  # the paper's


def scaled(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """f·exp(s₁/s₂) of features f [N, D].

    s₁ is the sum of a row, and s₂ the sum of the features that ASH would keep of it.
    """
    kept, _ = largest(features, percentile)
    return features * sharpening(features, kept)


def fit_scale(known: FitData) -> Fitted:
    """Score: the energy of head(scaled(f))."""
    return Fitted(
        lambda part: energies(known.head, scaled(features_of(part))), {"percentile": PERCENTILE}
    )
