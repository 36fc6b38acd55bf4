"""ASH, activation shaping (Djurisic et al. 2023, arXiv 2209.09858), in its form ASH-S, of the pooled features."""

import torch
from torch import Tensor

from .common import energies, features_of
from .contract import Fitted, Known

PERCENTILE = 90  # the paper's for ImageNet


def largest(features: Tensor, percentile: int) -> tuple[Tensor, Tensor]:
    """Of each row [D], all but its lowest ⌊D·percentile/100⌋ features, which are zero; and s₁/s₂ [N, 1], its sum before and after.

    Features are taken as ReLU gives them, 0 or more. Of a row of zeros the ratio is 0.
    """
    zeros = features.shape[1] * percentile // 100
    top = features.topk(features.shape[1] - zeros)
    before, after = features.sum(1, keepdim=True), top.values.sum(1, keepdim=True)
    kept = torch.zeros_like(features).scatter(1, top.indices, top.values)
    return kept, torch.where(after == 0, 0, before / after)


def shaped(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """ASH-S of features [N, D]: the lowest set to zero, the rest times exp(s₁/s₂)."""
    kept, ratio = largest(features, percentile)
    return kept * ratio.exp()


def fit_ash(known: Known) -> Fitted:
    """Score: the energy of head(shaped(f))."""
    return Fitted(lambda part: energies(known.head, shaped(features_of(part))), {"percentile": PERCENTILE})
