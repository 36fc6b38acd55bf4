"""SCALE (Xu et al. 2024, arXiv 2310.00227): ASH-S, but no feature is set to zero."""

from torch import Tensor

from .ash import largest, shaped_energy, sharpening
from .contract import FitData, Fitted

PERCENTILE = 85  # the paper's


def scaled(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """Return f·exp(s₁/s₂) for features f [N, D].

    s₁ is the sum of a row, and s₂ the sum of its largest features, which ASH does not set to zero.
    """
    top, _ = largest(features, percentile)
    return features * sharpening(features, top)


def fit_scale(data: FitData) -> Fitted:
    """Return the detector whose score is the energy of head(scaled(f))."""
    return shaped_energy(data, scaled, PERCENTILE)
