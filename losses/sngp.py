"""SNGP, the spectral-normalized neural Gaussian process (Liu et al. 2020, arXiv 2006.10108)."""

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import in_backward, in_torch_func, sum_over_processes
from .contract import LossFirstPart
from .criterion import LossSecondPart

RANDOM_FEATURES = 1024  # M, in the paper and the reference code
# l and λ of the reference code for CIFAR in 2020, which multiplies the frequencies by 0.05. (Its
# version of 2021 also projects the features to 128 dimensions and normalises them, and has λ = 25
# and 12.5.)
LENGTH_SCALE = 20.0  # l
MEAN_FIELD = 20.0  # mean-field factor λ on CIFAR-10; the paper's formula has π/8
MEAN_FIELD_MANY = 7.5  # λ on CIFAR-100
MANY_CLASSES = 100  # from this number of classes on, λ is MEAN_FIELD_MANY
RIDGE = 2 / RANDOM_FEATURES  # added to the precision, for features of length 1


def dempster_shafer(logits: Tensor) -> Tensor:
    """Return DS, log(1 + Σ_j exp ℓ_j / C).

    It is minus the logarithm of the paper's uncertainty C/(C + Σ_j exp ℓ_j).
    """
    return F.softplus(logits.logsumexp(-1) - math.log(logits.shape[-1]))


def _to_float64(tensor: Tensor) -> Tensor:
    # A tensor on an Apple GPU moves to the CPU, since these GPUs have no float64.
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()


def orthogonal_frequencies(count: int, dimensions: int) -> Tensor:
    """Return Ω [count, dimensions] of orthogonal random features (Yu et al. 2016, arXiv
    1610.09072).

    Each block of `dimensions` rows has orthogonal directions. The lengths are those of normal
    vectors: they have a χ distribution.
    """
    blocks = -(-count // dimensions)
    directions = torch.cat(
        [torch.linalg.qr(torch.randn(dimensions, dimensions)).Q for _ in range(blocks)]
    )[:count]
    return directions * torch.randn(count, dimensions).norm(dim=1, keepdim=True)


class SNGPLossFirstPart(LossFirstPart):
    """Head that is a Gaussian process with an RBF kernel.

    It uses random Fourier features φ = √(2/M)·cos(Ω f/l + b) and a Laplace approximation, with
    M = 1,024, fixed orthogonal Ω, and b from U(0, 2π).

    In training the logits are φ·β_j, and each forward pass adds its Σ φφᵀ to the precision
    P = (2/M)·I + Σ φφᵀ. P⁻¹ is the covariance of β. All classes share one covariance, that of a
    Gaussian likelihood, as in the reference code. (The paper's equation has one for each class, and
    weights the images by p_j(1-p_j).) In evaluation mode the logits are the mean-field logits
    φ·β_j/√(1 + λv), with the variance v = φᵀP⁻¹φ. As in the reference code, λ is 20, and 7.5 from
    100 classes on.

    The reference code has no √(2/M), so that |φ|² is M/2 there and 1 here, and its ridge is 1. A
    ridge of 2/M gives exactly the same variance. Features of length 1 train at this repository's
    learning rates; longer ones do not.

    Call `reset` before an epoch, and `finish` after it if its covariance is needed. The criterion
    does both for each epoch, in `before_epoch` and `after_epoch`. Before the first `finish`, v is
    the variance of the prior, φᵀφ·M/2.

    The covariance is valid only for the features of the trained weights. A copy with other weights,
    such as their average (EMA, SWA), needs its own covariance: call `reset`, pass the training
    images through the network with only the head in training mode, and call `finish`.

    Named outputs: `logits`, and in evaluation mode `variance` v [B].

    Args:
        num_features: D.
        num_classes: C.
        length_scale: l, in units of the features.

    Parameters: `weight` β [C, M], Glorot-uniform times √(M/2), which compensates for the shorter
    features. Buffers: `frequencies` Ω [M, D], `phases` b [M], and, [M, M] each, `precision` P, its
    `rounding` error and `covariance` P⁻¹.
    """

    frequencies: Tensor
    phases: Tensor
    precision: Tensor
    rounding: Tensor
    covariance: Tensor
    score_type = "MPS"  # the reference code has 1 - max p; the paper has DS
    own_scores: ClassVar = {
        "DS": lambda outputs: dempster_shafer(outputs["logits"]),
        "variance": lambda outputs: -outputs["variance"],
    }

    def __init__(self, num_features: int, num_classes: int, length_scale: float = LENGTH_SCALE):
        super().__init__(num_features, num_classes)
        self.length_scale = length_scale
        self.mean_field = MEAN_FIELD_MANY if num_classes >= MANY_CLASSES else MEAN_FIELD
        weight = nn.init.xavier_uniform_(torch.empty(num_classes, RANDOM_FEATURES))
        self.weight = nn.Parameter(weight * math.sqrt(RANDOM_FEATURES / 2))
        self.register_buffer("frequencies", orthogonal_frequencies(RANDOM_FEATURES, num_features))
        self.register_buffer("phases", 2 * math.pi * torch.rand(RANDOM_FEATURES))
        self.register_buffer("precision", RIDGE * torch.eye(RANDOM_FEATURES))
        self.register_buffer("rounding", torch.zeros(RANDOM_FEATURES, RANDOM_FEATURES))
        self.register_buffer("covariance", torch.eye(RANDOM_FEATURES) / RIDGE)

    def options(self) -> dict[str, Any]:
        return {"length_scale": self.length_scale}

    def raw_outputs(self, features: Tensor) -> dict[str, Tensor]:
        dtype = torch.promote_types(features.dtype, self.weight.dtype)
        angles = F.linear(
            features.to(dtype) / self.length_scale,
            self.frequencies.to(dtype),
            self.phases.to(dtype),
        )
        phi = math.sqrt(2 / RANDOM_FEATURES) * torch.cos(angles)
        logits = F.linear(phi, self.weight.to(dtype))
        if self.training:
            if in_torch_func():
                raise RuntimeError(
                    "SNGP sums its training images in buffers, which torch.func cannot change: "
                    "put the head into evaluation mode"
                )
            if not in_backward():
                self._add(phi)
            return {"logits": logits}
        variance = ((phi @ self.covariance.to(dtype)) * phi).sum(1)
        return {
            "logits": logits / torch.sqrt(1 + self.mean_field * variance)[:, None],
            "variance": variance,
        }

    @torch.no_grad()
    def _add(self, phi: Tensor) -> None:
        """Add Σ φφᵀ to the precision by Kahan summation.

        The error of a plain float32 sum over an epoch is as large as the ridge, and the precision
        may then have no inverse. (Apple's GPUs have no float64.)
        """
        step = (phi.T @ phi).to(self.precision.dtype) - self.rounding
        total = self.precision + step
        self.rounding.copy_((total - self.precision) - step)
        self.precision.copy_(total)

    @torch.no_grad()
    def reset(self) -> None:
        """Forget all images: set the precision to that of the prior."""
        self.precision.copy_(RIDGE * torch.eye(RANDOM_FEATURES, device=self.precision.device))
        self.rounding.zero_()

    @torch.no_grad()
    def finish(self) -> None:
        """Compute the covariance from the images since the last `reset`, of all processes that
        share them.
        """
        own = _to_float64(self.precision) - _to_float64(self.rounding)
        prior = RIDGE * torch.eye(RANDOM_FEATURES, device=own.device, dtype=own.dtype)
        total = prior + sum_over_processes(own - prior)
        # It is positive definite: the ridge plus a sum of squares.
        factor, _ = torch.linalg.cholesky_ex(total)
        self.covariance.copy_(torch.cholesky_inverse(factor))
        self.precision.copy_(total)
        self.rounding.copy_(_to_float64(self.precision) - total)


class SNGPLossSecondPart(LossSecondPart[SNGPLossFirstPart]):
    """Cross-entropy of the logits. The output weights are trained without weight decay.

    The covariance is computed anew from the images of each epoch.
    """

    def no_decay_parameters(self) -> list[nn.Parameter]:
        return [self.classifier.weight]

    def before_epoch(self, epoch: int) -> None:
        self.classifier.reset()

    def after_epoch(self, epoch: int) -> None:
        self.classifier.finish()
