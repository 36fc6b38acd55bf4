"""Detection scores: functions of logits [..., C] to scores [...].

A higher score is more in-distribution. The logits ℓ are already divided by the temperature, and
p = softmax(ℓ). Half precision is raised to float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .common import at_least_float32


def maximum_probability(logits: Tensor) -> Tensor:
    """Return MPS, max p (Hendrycks & Gimpel 2017)."""
    return at_least_float32(logits).softmax(-1).amax(-1)


def negative_entropy(logits: Tensor) -> Tensor:
    """Return ES, Σ p log p (Macêdo et al. 2021). p log p is 0 at p = 0."""
    log_p = at_least_float32(logits).log_softmax(-1)
    p = log_p.exp()
    return torch.where(p == 0, 0, p * log_p).sum(-1)  # NaN stays NaN


def maximum_logit(logits: Tensor) -> Tensor:
    """Return MDS, max ℓ: for distance losses, minus the smallest distance (Macêdo & Ludermir
    2022).
    """
    return at_least_float32(logits).amax(-1)


def maximum_mean_logit(logits: Tensor) -> Tensor:
    """Return MMLS, max ℓ + mean ℓ."""
    return at_least_float32(logits).amax(-1) + at_least_float32(logits).mean(-1)


def maximum_mean_logit_entropy(logits: Tensor) -> Tensor:
    """Return MMLES, max ℓ + mean ℓ + Σ p log p: DisMax's score (arXiv 2205.05874)."""
    return maximum_mean_logit(logits) + negative_entropy(logits)


def maximum_mean_logit_entropy_probability(logits: Tensor) -> Tensor:
    """Return MMLEPS, MMLES + max p."""
    return maximum_mean_logit_entropy(logits) + maximum_probability(logits)


SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "MPS": maximum_probability,
    "ES": negative_entropy,
    "MDS": maximum_logit,
    "MMLS": maximum_mean_logit,
    "MMLES": maximum_mean_logit_entropy,
    "MMLEPS": maximum_mean_logit_entropy_probability,
}
