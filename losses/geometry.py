"""Distances that stay finite, with finite gradients: to points (IsoMax), and between directions (IsoMax+ and DisMax)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .precision import without_autocast

LARGE = 1e15  # the squares of numbers of this size still add up in float32
SHORTEST = 1e-18  # a vector shorter than this has no direction: its squares underflow in float32


def distances(points: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distances [N, C] of points [N, D] to prototypes [C, D]; the gradient at distance zero is zero.

    In float32, distances under about 1e-19 come out as zero, which their squares are. Computed from the differences, not from
    ‖a‖² - 2ab + ‖b‖², which loses half the digits of a small distance.
    """
    dtype = torch.promote_types(points.dtype, prototypes.dtype)
    points, prototypes = points.to(dtype), prototypes.to(dtype)
    # Only where squares could overflow; elsewhere the scale is exactly 1. It is the prototypes' alone, so that no point changes
    # another's distances.
    largest = prototypes.detach().abs().amax()
    scale = torch.where(largest > LARGE, largest, 1)
    points, prototypes = points / scale, prototypes / scale
    # A point so far off is at its own length from every prototype.
    size = points.detach().abs().amax(1, keepdim=True)
    far = size > LARGE
    length = size * torch.linalg.vector_norm(points / torch.where(far, size, 1), dim=1, keepdim=True)
    near = torch.cdist(torch.where(far, 0, points), prototypes, compute_mode="donot_use_mm_for_euclid_dist")
    return scale * torch.where(far, length, near)


def direction_logits(features: Tensor, prototypes: Tensor, scale: Tensor, factor: float, add_mean: bool) -> Tensor:
    """k·d_ij, or with `add_mean` k·(d_ij + mean_j d_ij), of distances between directions d_ij = ‖f̂_i - p̂_j‖: [B, C].

    Args:
        features: f [B, D]; one shorter than 1e-18 or longer than 1e18 counts as zero, without gradient. NaN stays NaN.
        prototypes: p [C, D], likewise.
        scale: s [1], and
        factor: a constant: k = factor·|s|.
        add_mean: whether each distance gets the mean over the prototypes added.

    One matrix product each in the forward and for either gradient; `_DirectionLogits` has the derivation and the accuracy.
    """
    dtype = torch.promote_types(features.dtype, prototypes.dtype)
    return _DirectionLogits.apply(features.to(dtype), prototypes.to(dtype), scale.to(dtype), factor, add_mean)


def _inverse_lengths(vectors: Tensor) -> Tensor:
    """1/‖v‖ [N, 1]; 0 for a vector that has no direction."""
    return F.threshold_(torch.linalg.vector_norm(vectors, dim=1, keepdim=True), SHORTEST, math.inf).reciprocal_()


class _DirectionLogits(torch.autograd.Function):
    """`direction_logits` with its gradient by hand, which takes half the time of autograd's own chain.

    Forward: d_ij² = ‖f̂_i‖² + ‖p̂_j‖² - 2 S_ij with S = f̂ p̂ᵀ. Rounding leaves an error ε of about 1e-7 in S, so ε/d² (relative) in d:
    nothing at the distances that most pairs have, near √2, but much at a near prototype, on which scores and gradients depend. Each
    row's smallest distance is therefore computed again from the difference f̂_i - p̂_j.

    Backward: with G_ij = ∂L/∂d_ij = k·(g_ij + [add_mean] mean_j g_ij) and ∂d_ij/∂f̂_i = (f̂_i - p̂_j)/d_ij,

        ∂L/∂f_i = (1/‖f_i‖)(I - f̂_i f̂_iᵀ) Σ_j W_ij (f̂_i - p̂_j)          W_ij = G_ij/d_ij
                = (1/‖f_i‖)(f̂_i Σ_j W_ij S_ij - Σ_j W_ij p̂_j)            S_ij = 1 - d_ij²/2, so W_ij S_ij = W_ij - G_ij d_ij/2

    since the projection removes f̂_i; ∂L/∂p_j is the same with f and p exchanged; ∂L/∂k = Σ_ij (g_ij + [add_mean] mean_j g_ij) d_ij.
    Where a vector has no direction, 1/‖v‖ is 0 here, and so is its gradient.

    In float32, values and gradients are exact to 1e-4 (relative) for a row's nearest prototype from d = 1e-3 on and for the others
    from 0.05 on: two prototypes that near to one feature lie within 6° of each other. Below 10 machine epsilons, where a difference
    of directions is rounding error, d counts as that much.
    """

    @staticmethod
    def forward(ctx, features, prototypes, scale, factor, add_mean):
        by_feature, by_prototype = _inverse_lengths(features), _inverse_lengths(prototypes)  # [B, 1], [C, 1]
        unit_features, unit_prototypes = features * by_feature, prototypes * by_prototype
        shortest = 10 * torch.finfo(features.dtype).eps
        # In place from here on: at 1,000 classes a new [B, C] costs more than what is computed in it.
        squares = torch.add(by_feature.sign(), by_prototype.sign().T).addmm_(unit_features, unit_prototypes.T, alpha=-2)
        nearest = squares.min(1, keepdim=True).indices
        difference = unit_prototypes.index_select(0, nearest.view(-1)).sub_(unit_features)
        exact = torch.linalg.vector_norm(difference, dim=1, keepdim=True).clamp_min_(shortest)
        d = squares.clamp_min_(shortest**2).sqrt_().scatter_(1, nearest, exact)
        slope = scale.sign().mul_(factor)  # ∂k/∂s
        k = slope * scale
        ctx.save_for_backward(unit_features, unit_prototypes, by_feature, by_prototype, d, slope, k)
        ctx.add_mean = add_mean
        return torch.add(d, d.mean(1, keepdim=True)).mul_(k) if add_mean else d * k

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        unit_features, unit_prototypes, by_feature, by_prototype, d, slope, k = ctx.saved_tensors
        to_features = to_prototypes = None
        with without_autocast(gradient):
            if ctx.add_mean:
                gradient = gradient + gradient.mean(1, keepdim=True)  # G/k
            to_scale = torch.dot(gradient.reshape(-1), d.view(-1)) * slope
            weights = gradient / d  # W/k
            cosines = torch.addcmul(weights, gradient, d, value=-0.5)  # W S/k
            if ctx.needs_input_grad[0]:
                along = torch.mul(unit_features, cosines.sum(1, keepdim=True))
                to_features = along.addmm_(weights, unit_prototypes, alpha=-1).mul_(by_feature * k)
            if ctx.needs_input_grad[1]:
                along = torch.mul(unit_prototypes, cosines.sum(0).unsqueeze(1))
                to_prototypes = along.addmm_(weights.T, unit_features, alpha=-1).mul_(by_prototype * k)
        return to_features, to_prototypes, to_scale, None, None
