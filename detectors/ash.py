"""ASH, activation shaping (Djurisic et al. 2023, arXiv 2209.09858), of the pooled features.

It has two forms here. ASH-B gives all features that it keeps one value. OpenOOD calls it ASH.
ASH-S makes them larger.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .common import energies, features_of
from .contract import FitData, Fitted

PERCENTILE = 90  # of both; the paper's for ASH-S on ImageNet


def largest(features: Tensor, percentile: int) -> tuple[Tensor, Tensor]:
    """The k largest features of each row of features [N, D]: values and indices, both [N, k].

    The other round(D·percentile/100) features are pruned: a half is rounded to the even number.
    At least one feature is kept.
    """
    pruned = round(features.shape[1] * percentile / 100)
    return features.topk(max(1, features.shape[1] - pruned))


def sharpening(features: Tensor, kept: Tensor) -> Tensor:
    """The factor exp(s₁/s₂) [N, 1]: s₁ is the sum of features [N, D], s₂ that of those kept [N, k].

    Features are taken as ReLU gives them, 0 or more. In a row of zeros s₁/s₂ counts as 0.
    """
    before, after = features.sum(1, keepdim=True), kept.sum(1, keepdim=True)
    return torch.where(after == 0, 0, before / after).exp()


def ash_b(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """ASH-B of features [N, D]: each kept feature becomes s₁/k, the others 0.

    s₁ is the sum of the row before pruning, and k the number of features kept.
    """
    kept, places = largest(features, percentile)
    value = features.sum(1, keepdim=True) / kept.shape[1]
    return torch.zeros_like(features).scatter(1, places, value.expand_as(kept))


def ash_s(features: Tensor, percentile: int = PERCENTILE) -> Tensor:
    """ASH-S of features [N, D]: each kept feature times exp(s₁/s₂), the others 0."""
    kept, places = largest(features, percentile)
    return torch.zeros_like(features).scatter(1, places, kept * sharpening(features, kept))


def fit_ash_b(known: FitData) -> Fitted:
    """Score: the energy of head(ash_b(f))."""
    return _energy_of(known, ash_b)


def fit_ash_s(known: FitData) -> Fitted:
    """Score: the energy of head(ash_s(f))."""
    return _energy_of(known, ash_s)


def _energy_of(known: FitData, shaped: Callable[[Tensor], Tensor]) -> Fitted:
    return Fitted(
        lambda part: energies(known.head, shaped(features_of(part))), {"percentile": PERCENTILE}
    )
