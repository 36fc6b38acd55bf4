"""Mahalanobis, the distance to the nearest class in the last layer's features (Lee et al. 2018,
arXiv 1807.03888), and Mahalanobis++, the same of features of length 1 (Mueller and Hein 2025, arXiv
2505.18032).

The first paper's input pre-processing is left out. `preprocessing.py` has it for the heads' own
scores.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import deployable, features_of
from .contract import FitData, Fitted, Score, required


class Mahalanobis(Score):
    """max_c -(f - μ_c)ᵀ Σ⁻¹ (f - μ_c), with Σ⁻¹ = R Rᵀ.

    Args:
        shift: a point [D] amid the classes, for accuracy.
        root: R [D, D].
        means: (μ_c - shift)ᵀ R [C, D].
    """

    shift: Tensor
    root: Tensor
    means: Tensor

    def __init__(self, shift: Tensor, root: Tensor, means: Tensor):
        super().__init__(shift=shift, root=root, means=means)

    def of(self, features: Tensor) -> Tensor:
        """Return the scores [B] of features [B, D]."""
        whitened = (features - self.shift) @ self.root
        # Class by class, since [B, C, D] numbers may not fit into memory. A matrix product has the
        # rounding error of the squared lengths. ONNX has no torch.cdist without one.
        distances = [(whitened - mean).square().sum(1) for mean in self.means]
        return -torch.stack(distances).amin(0)

    def forward(self, outputs, head):
        return self.of(outputs["features"])


class MahalanobisPlusPlus(Score):
    """The score of `Mahalanobis` for f/‖f‖. A feature vector of zeros stays zero.

    Args:
        gaussians: fitted to features that are divided by their lengths too.
    """

    gaussians: Mahalanobis

    def __init__(self, gaussians: Mahalanobis):
        super().__init__(gaussians=gaussians)

    def forward(self, outputs, head):
        return self.gaussians.of(F.normalize(outputs["features"]))


def class_gaussians(features: Tensor, labels: Tensor) -> Mahalanobis:
    """Fit one Gaussian for each class, all with the same covariance Σ.

    Classes without images have no mean μ_c. If Σ is singular (constant features, or N < D), Σ⁻¹ is
    its pseudo-inverse: directions in which the training features do not vary do not count. Nor do
    those in which they vary by less than the rounding of float32.

    Args:
        features: training features [N, D] in float64.
        labels: their class indices [N].

    Raises:
        ValueError: if the training features are not all finite.
    """
    # Imported here: it takes a second, and a fitted score does not need it.
    from sklearn.covariance import EmpiricalCovariance

    if not features.isfinite().all():
        raise ValueError("Mahalanobis got training features that are not all finite")
    classes, index = labels.cpu().unique(return_inverse=True)
    means = torch.stack([features[index == c].mean(0) for c in range(len(classes))])
    covariance = EmpiricalCovariance().fit((features - means[index]).numpy())
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance.get_precision()))
    rounding = features.square().mean() * torch.finfo(torch.float32).eps ** 2
    root = vectors * values.clamp(min=0).where(values * rounding < 1, 0).sqrt()
    shift = means.mean(0)
    return Mahalanobis(shift, root, (means - shift) @ root)


def fit_mahalanobis(data: FitData) -> Fitted:
    """Return the detector whose score is minus the squared distance to the nearest class."""
    train = required(data.train, "training images")
    score = class_gaussians(features_of(train), required(train.labels, "training labels"))
    return deployable(score, data)


def fit_mahalanobis_plus_plus(data: FitData) -> Fitted:
    """Return the detector whose score is `MahalanobisPlusPlus`."""
    train = required(data.train, "training images")
    directions = F.normalize(features_of(train))
    gaussians = class_gaussians(directions, required(train.labels, "training labels"))
    return deployable(MahalanobisPlusPlus(gaussians), data)
