"""SCALE (Xu et al. 2024, arXiv 2310.00227): ASH-S, but no feature is set to zero."""

from torch import Tensor

from .ash import largest, sharpening
from .common import deployable
from .contract import FitData, Fitted, required
from .energy import ShapedEnergy

PERCENTILE = 85  # the paper's


def scaled(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """Return f·exp(s₁/s₂) for features f [N, D].

    s₁ is the sum of a row, and s₂ the sum of its largest features, which ASH does not set to zero.
    """
    top, _ = largest(features, percentile)
    return features * sharpening(features, top)


class SCALE(ShapedEnergy):
    """The energy of head(scaled(f))."""

    def shape(self, features):
        return scaled(features)


def fit_scale(data: FitData) -> Fitted:
    """Return the detector whose score is `SCALE`."""
    required(data.head, "the head")
    return deployable(SCALE(), data, {"percentile": PERCENTILE})
