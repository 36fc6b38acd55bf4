"""Mahalanobis, the distance to the nearest class (Lee et al. 2018, arXiv 1807.03888), of the last
layer's features.

The paper's input pre-processing is left out: `preprocessing.py` does that for the heads' own
scores.
"""

from collections.abc import Callable

import torch
from sklearn.covariance import EmpiricalCovariance
from torch import Tensor

from .common import features_of
from .contract import FitData, Fitted


def class_gaussians(features: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Fit a Gaussian a class, with one covariance Σ for all, to features [N, D] in float64 and
    class indices [N].

    Returns what gives features [M, D] their scores max_c -(f - μ_c)ᵀ Σ⁻¹ (f - μ_c) [M]. Classes
    without images have no μ_c. If Σ is singular (constant features, N < D), Σ⁻¹ is its
    pseudo-inverse: directions in which training does not vary count nothing. Raises ValueError if
    the features to fit to are not all finite.
    """
    if not features.isfinite().all():
        raise ValueError("Mahalanobis got training features that are not all finite")
    classes, index = labels.cpu().unique(return_inverse=True)
    means = torch.stack([features[index == c].mean(0) for c in range(len(classes))])
    covariance = EmpiricalCovariance().fit((features - means[index]).numpy())
    # With Σ⁻¹ = R Rᵀ the distance is the Euclidean one between (f - shift)ᵀ R and (μ_c - shift)ᵀ R.
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance.get_precision()))
    root, shift = vectors * values.clamp(min=0).sqrt(), means.mean(0)
    means = (means - shift) @ root

    def score(features: Tensor) -> Tensor:
        whitened = (features - shift) @ root
        # Not by the matrix product, whose rounding is that of the squared lengths.
        return (
            -torch.cdist(whitened, means, compute_mode="donot_use_mm_for_euclid_dist")
            .amin(1)
            .square()
        )

    return score


def fit_mahalanobis(known: FitData) -> Fitted:
    score = class_gaussians(features_of(known.train), known.train.labels)
    return Fitted(lambda part: score(features_of(part)))
