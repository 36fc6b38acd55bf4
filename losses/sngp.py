"""SNGP, the spectral-normalized neural Gaussian process (Liu et al. 2020, arXiv 2006.10108)."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import LossFirstPart, LossSecondPart
from .processes import summed_over_processes

RANDOM_FEATURES = 1024  # M, the paper's
LENGTH_SCALE = 2.0  # l, a guess
MEAN_FIELD = math.pi / 8  # λ


def dempster_shafer(logits: Tensor) -> Tensor:
    """DS, log(1 + Σ_j exp ℓ_j / C): minus the logarithm of the paper's uncertainty C/(C + Σ_j exp ℓ_j)."""
    return F.softplus(logits.logsumexp(-1) - math.log(logits.shape[-1]))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()  # Apple's GPUs have no float64


class SNGPLossFirstPart(LossFirstPart):
    """A Gaussian process with an RBF kernel of length l = 2, by M = 1,024 random Fourier features and a Laplace approximation.

    φ = √(2/M)·cos(Ω f/l + b), with Ω from N(0, 1) and b from U(0, 2π) fixed. In training the logits are φ·β_j, and each forward
    pass adds its Σ φφᵀ to the precision I + Σ φφᵀ; its inverse is the covariance Σ. (This is the Gaussian likelihood's, one for all
    classes, as the reference implementation has it; the paper's equation weighs the images by p_j(1-p_j) and has one a class.)
    In evaluation mode the logits are the mean-field ones, φ·β_j/√(1 + λv), with the variance v = φᵀΣφ and λ = π/8.

    Call `reset` before an epoch and `finish` after the last that counts, as the criterion's `before_epoch` and `after_epoch` do;
    before that v is the prior's, φᵀφ. Named outputs: `logits`, and in evaluation mode `variance` v [B].

    Parameters: `weight` β [C, M], from N(0, 1), their prior. Buffers: `frequencies` Ω [M, D], `phases` b [M], `precision` and
    `covariance` [M, M].
    """

    score_type = "DS"
    own_scores: ClassVar = {
        "DS": lambda outputs: dempster_shafer(outputs["logits"]),
        "variance": lambda outputs: -outputs["variance"],
    }

    def __init__(self, num_features: int, num_classes: int):
        super().__init__(num_features, num_classes)
        self.weight = nn.Parameter(torch.randn(num_classes, RANDOM_FEATURES))
        self.register_buffer("frequencies", torch.randn(RANDOM_FEATURES, num_features))
        self.register_buffer("phases", 2 * math.pi * torch.rand(RANDOM_FEATURES))
        self.register_buffer("precision", torch.eye(RANDOM_FEATURES))
        self.register_buffer("covariance", torch.eye(RANDOM_FEATURES))

    def raw_outputs(self, features: Tensor) -> dict[str, Tensor]:
        dtype = torch.promote_types(features.dtype, self.weight.dtype)
        angles = F.linear(features.to(dtype) / LENGTH_SCALE, self.frequencies.to(dtype), self.phases.to(dtype))
        phi = math.sqrt(2 / RANDOM_FEATURES) * torch.cos(angles)
        logits = F.linear(phi, self.weight.to(dtype))
        if self.training:
            with torch.no_grad():
                self.precision.add_((phi.T @ phi).to(self.precision.dtype))
            return {"logits": logits}
        variance = ((phi @ self.covariance.to(dtype)) * phi).sum(1)
        return {"logits": logits / torch.sqrt(1 + MEAN_FIELD * variance)[:, None], "variance": variance}

    @torch.no_grad()
    def reset(self) -> None:
        """Forget all images: the precision is the prior's."""
        self.precision.copy_(torch.eye(RANDOM_FEATURES, device=self.precision.device))

    @torch.no_grad()
    def finish(self) -> None:
        """The covariance of the images since the last `reset`, of all processes that share them."""
        prior = torch.eye(RANDOM_FEATURES, device=self.precision.device, dtype=self.precision.dtype)
        self.precision.copy_(prior + summed_over_processes(self.precision - prior))
        factor, _ = torch.linalg.cholesky_ex(_wide(self.precision))  # positive definite: I and a sum of squares
        self.covariance.copy_(torch.cholesky_inverse(factor))


class SNGPLossSecondPart(LossSecondPart):
    """Cross-entropy of the logits; each epoch's images make the covariance anew."""

    def before_epoch(self, epoch: int) -> None:
        self.classifier.reset()

    def after_epoch(self, epoch: int) -> None:
        self.classifier.finish()
