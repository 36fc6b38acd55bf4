"""ASH, activation shaping (Djurisic et al. 2023, arXiv 2209.09858), of the pooled features.

It keeps only the largest features. There are two forms here: ASH-B, which OpenOOD calls ASH, sets
all of these to one value; ASH-S scales them up.
"""

import torch
from torch import Tensor

from .common import deployable
from .contract import FitData, Fitted, required
from .energy import ShapedEnergy

PERCENTILE = 90  # of features that are set to 0, in both forms; the paper's for ASH-S on ImageNet


def largest(features: Tensor, percentile: int) -> tuple[Tensor, Tensor]:
    """Return the values and indices, [N, k] each, of the k largest features in each row of [N, D].

    The other round(D·percentile/100) features are pruned. Halves are rounded to the even number. At
    least one feature stays.
    """
    pruned = round(features.shape[1] * percentile / 100)
    return features.topk(max(1, features.shape[1] - pruned))


def sharpening(features: Tensor, top: Tensor) -> Tensor:
    """Return the factor exp(s₁/s₂) [N, 1].

    s₁ is the sum of the features [N, D] and s₂ the sum of the largest ones [N, k]. Features are 0
    or more, since they come from a ReLU. In a row of zeros s₁/s₂ counts as 0.
    """
    total = features.sum(1, keepdim=True)
    top_total = top.sum(1, keepdim=True)
    return torch.where(top_total == 0, 0, total / top_total).exp()


def ash_b(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """Return ASH-B of features [N, D]: each of the k largest features becomes s₁/k, the others 0.

    s₁ is the sum of the row before pruning. If fewer than k features are above 0, some zeros become
    s₁/k too, as in OpenOOD. Which ones depends on their order.
    """
    top, indices = largest(features, percentile)
    value = features.sum(1, keepdim=True) / top.shape[1]
    return torch.zeros_like(features).scatter(1, indices, value.expand_as(top))


def ash_s(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """Return ASH-S of features [N, D]: the k largest features times exp(s₁/s₂), the others 0."""
    top, indices = largest(features, percentile)
    return torch.zeros_like(features).scatter(1, indices, top * sharpening(features, top))


class ASHB(ShapedEnergy):
    """The energy of head(ash_b(f))."""

    def shape(self, features):
        return ash_b(features)


class ASHS(ShapedEnergy):
    """The energy of head(ash_s(f))."""

    def shape(self, features):
        return ash_s(features)


def fit_ash_b(data: FitData) -> Fitted:
    """Return the detector whose score is `ASHB`."""
    required(data.head, "the head")
    return deployable(ASHB(), data, {"percentile": PERCENTILE})


def fit_ash_s(data: FitData) -> Fitted:
    """Return the detector whose score is `ASHS`."""
    required(data.head, "the head")
    return deployable(ASHS(), data, {"percentile": PERCENTILE})
