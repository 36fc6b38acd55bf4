"""SNGP, the spectral-normalized neural Gaussian process (Liu et al. 2020, arXiv 2006.10108)."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batch import sum_over_processes
from .contract import LossFirstPart
from .criterion import LossSecondPart
from .transforms import in_backward, in_torch_func

RANDOM_FEATURES = 1024  # M, the paper's and the reference code's
# The reference code's for CIFAR in 2020: frequencies times 0.05, and the mean-field factor λ. (Its
# version of 2021 also projects the features to 128 dimensions and normalises them, with 25 and
# 12.5.)
LENGTH_SCALE = 20.0  # l
MEAN_FIELD = 20.0  # λ on CIFAR-10; the paper's own formula has π/8
MEAN_FIELD_MANY = 7.5  # λ on CIFAR-100
MANY_CLASSES = 100
RIDGE = 2 / RANDOM_FEATURES  # of the precision, for features of length 1


def dempster_shafer(logits: Tensor) -> Tensor:
    """DS, log(1 + Σ_j exp ℓ_j / C): minus the logarithm of the paper's uncertainty C/(C + Σ_j exp
    ℓ_j).
    """
    return F.softplus(logits.logsumexp(-1) - math.log(logits.shape[-1]))


def _wide(tensor: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()


def orthogonal_frequencies(count: int, dimensions: int) -> Tensor:
    """Ω [count, dimensions], orthogonal random features (Yu et al. 2016, arXiv 1610.09072).

    Each block of `dimensions` rows has orthogonal directions. Lengths are those of normal vectors,
    from the χ distribution.
    """
    blocks = -(-count // dimensions)
    directions = torch.cat(
        [torch.linalg.qr(torch.randn(dimensions, dimensions)).Q for _ in range(blocks)]
    )[:count]
    return directions * torch.randn(count, dimensions).norm(dim=1, keepdim=True)


class SNGPLossFirstPart(LossFirstPart):
    """A Gaussian process with an RBF kernel, by random Fourier features and a Laplace
    approximation.

    The features are φ = √(2/M)·cos(Ω f/l + b), with M = 1,024, fixed orthogonal Ω and b from
    U(0, 2π). In training the logits are φ·β_j, and each forward pass adds its Σ φφᵀ to the
    precision P = (2/M)·I + Σ φφᵀ. Its inverse is the covariance of β. (One for all classes, that of
    a Gaussian likelihood, as in the reference code. The paper's equation has one for each class,
    and weighs the images by p_j(1-p_j).) In evaluation mode the logits are the mean-field ones,
    φ·β_j/√(1 + λv), with the variance v = φᵀP⁻¹φ.

    The reference code leaves out the √(2/M), so that |φ|² is M/2 there and 1 here, and has a ridge
    of 1. A ridge of 2/M gives the same variance exactly. Features of length 1 train at this
    repository's learning rates, longer ones do not.

    Call `reset` before an epoch and `finish` after the last epoch that counts, as the criterion's
    `before_epoch` and `after_epoch` do. Before that v is the prior's, φᵀφ·M/2.

    The covariance belongs to the features of the weights that were trained. A copy with other
    weights, such as their average (EMA, SWA), needs its own: call `reset`, show it the training
    images with only the head in training mode, and call `finish`.

    Named outputs: `logits`, and in evaluation mode `variance` v [B].

    Args:
        num_features: D.
        num_classes: C.
        length_scale: l, in units of the features.

    The mean-field factor λ is the reference code's: 20, and 7.5 from 100 classes on.

    Parameters: `weight` β [C, M], Glorot-uniform times √(M/2), which makes up for the shorter
    features. Buffers: `frequencies` Ω [M, D], `phases` b [M], and `precision` P, the `rounding`
    error in it and `covariance` P⁻¹, [M, M] each.
    """

    frequencies: Tensor
    phases: Tensor
    precision: Tensor
    rounding: Tensor
    covariance: Tensor
    score_type = "MPS"  # as in the reference code, 1 - max p; the paper has DS
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
        """Add Σ φφᵀ to the precision.

        By Kahan's summation: a plain float32 sum over an epoch is off by as much as the ridge, and
        can leave the precision without an inverse. (Apple's GPUs have no float64.)
        """
        step = (phi.T @ phi).to(self.precision.dtype) - self.rounding
        total = self.precision + step
        self.rounding.copy_((total - self.precision) - step)
        self.precision.copy_(total)

    @torch.no_grad()
    def reset(self) -> None:
        """Forget all images: the precision is the prior's."""
        self.precision.copy_(RIDGE * torch.eye(RANDOM_FEATURES, device=self.precision.device))
        self.rounding.zero_()

    @torch.no_grad()
    def finish(self) -> None:
        """The covariance of the images since the last `reset`, of all processes that share them."""
        own = _wide(self.precision) - _wide(self.rounding)
        prior = RIDGE * torch.eye(RANDOM_FEATURES, device=own.device, dtype=own.dtype)
        total = prior + sum_over_processes(own - prior)
        # Positive definite: the ridge and a sum of squares.
        factor, _ = torch.linalg.cholesky_ex(total)
        self.covariance.copy_(torch.cholesky_inverse(factor))
        self.precision.copy_(total)
        self.rounding.copy_(_wide(self.precision) - total)


class SNGPLossSecondPart(LossSecondPart[SNGPLossFirstPart]):
    """Cross-entropy of the logits. The output weights have no weight decay.

    The covariance is computed anew from each epoch's images.
    """

    def no_decay_parameters(self) -> list[nn.Parameter]:
        return [self.classifier.weight]

    def before_epoch(self, epoch: int) -> None:
        self.classifier.reset()

    def after_epoch(self, epoch: int) -> None:
        self.classifier.finish()
