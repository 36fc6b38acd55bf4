"""Distances and cosines between directions, with finite gradients (IsoMax+, DisMax, GODIN, Scaled
Cosine).

The gradients are written by hand. With `create_graph=True` the same equations run on tensors that
autograd records, so gradients of any order are right.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import being_recorded, in_one_precision, in_torch_func, without_autocast
from .geometry import distances, roots

SHORTEST = 1e-18  # a vector shorter than this has no direction: its squares underflow in float32


def direction_logits(
    features: Tensor, prototypes: Tensor, scale: Tensor, factor: float, add_mean: bool
) -> Tensor:
    """Return k·d_ij [B, C] for distances between directions, d_ij = ‖f̂_i - p̂_j‖.

    With `add_mean`, return k·(d_ij + mean_j d_ij). A feature vector without a direction is as far
    from each prototype with a direction as possible, d_ij = 2. So no score takes it for
    in-distribution. The forward pass takes one matrix product, and so does each of the two
    gradients. `_DirectionLogits` has the derivation and the accuracy.

    Args:
        features: f [B, D]. A feature vector shorter than 1e-18 counts as zero and gets no gradient.
            So does one whose squares overflow (in float32 from a length of about 1.8e19). NaN stays
            NaN.
        prototypes: p [C, D], with the same limits.
        scale: s [1].
        factor: a constant c; k = c·|s|.
        add_mean: whether to add the mean distance over the prototypes to each distance.
    """
    dtype = torch.promote_types(features.dtype, prototypes.dtype)
    features, prototypes, scale = features.to(dtype), prototypes.to(dtype), scale.to(dtype)
    if in_torch_func() or being_recorded():
        by_feature = _inverse_lengths(features)
        d = distances(features * by_feature, prototypes * _inverse_lengths(prototypes))
        d = d + (by_feature == 0)  # as in `_DirectionLogits.forward`
        return (d + d.mean(1, keepdim=True) if add_mean else d) * (factor * scale.abs())
    return _DirectionLogits.apply(features, prototypes, scale, factor, add_mean)


def cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    """Return cosines cos(f_i, p_j) [B, C] of features [B, D] and prototypes [C, D].

    A cosine is 0, without gradient, for a vector that counts as zero in `direction_logits`.
    """
    features, prototypes = in_one_precision(features, prototypes)
    return (features * _inverse_lengths(features)) @ (prototypes * _inverse_lengths(prototypes)).T


def _inverse_lengths(vectors: Tensor) -> Tensor:
    """Return 1/‖v‖ [N, 1]; 0, without gradient, for a vector that has no direction."""
    if not (in_torch_func() or being_recorded()):
        return _InverseLengths.apply(vectors)
    has_direction = torch.linalg.vector_norm(vectors.detach(), dim=1, keepdim=True) > SHORTEST
    # The gradient of a length of 0 would be NaN.
    return has_direction / torch.linalg.vector_norm(
        torch.where(has_direction, vectors, 1), dim=1, keepdim=True
    )


class _InverseLengths(torch.autograd.Function):
    """1/‖v‖ with the gradient -v/‖v‖³.

    It can be differentiated again even where v is zero. Autograd's own gradient is NaN there.
    """

    @staticmethod
    def forward(ctx, vectors):
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        inverse = F.threshold(lengths, SHORTEST, math.inf).reciprocal()
        ctx.save_for_backward(vectors, lengths, inverse)
        return inverse

    @staticmethod
    def backward(ctx, gradient):  # pyrefly: ignore[bad-override]
        vectors, lengths, inverse = ctx.saved_tensors
        slope = -gradient * (inverse * inverse)
        if torch.is_grad_enabled():  # autograd does not record the lengths
            return slope * (vectors * inverse)
        return slope * (vectors / lengths.clamp_min(SHORTEST))


class _DirectionLogits(torch.autograd.Function):
    """`direction_logits` with a gradient written by hand, in half the time of autograd's own.

    Forward: d_ij² = ‖f̂_i‖² + ‖p̂_j‖² - 2 S_ij with S = f̂ p̂ᵀ.

    Backward: with G_ij = ∂L/∂d_ij = k·(g_ij + [add_mean] mean_j g_ij) and ∂d_ij/∂f̂_i = (f̂_i -
    p̂_j)/d_ij,

        ∂L/∂f_i = (1/‖f_i‖)(I - f̂_i f̂_iᵀ) Σ_j W_ij (f̂_i - p̂_j)     with W_ij = G_ij/d_ij
                = (1/‖f_i‖)(f̂_i Σ_j W_ij S_ij - Σ_j W_ij p̂_j)

    since the projection removes f̂_i. As S_ij = 1 - d_ij²/2, W_ij S_ij = W_ij - G_ij d_ij/2.
    ∂L/∂p_j is the same with f and p exchanged. ∂L/∂k = Σ_ij (g_ij + [add_mean] mean_j g_ij) d_ij.
    For a vector without a direction, 1/‖v‖ is 0 here, so it gets no gradient. Its S are 0 and are
    left out of the sums of the others.

    Accuracy in float32. The relative error of each value is at most 1e-4 if the distance is at
    least this large:

    ======================================  ==========  ===================
    value                                   distance    smaller distances
    ======================================  ==========  ===================
    smallest distance of a row              1e-3
    gradient to the nearest prototype       0.01        error grows as 1/d
    gradient to any other prototype         0.1         error grows as 1/d²
    ======================================  ==========  ===================

    (Two prototypes within 0.1 of one feature are within 12° of each other.) A distance below 10
    machine epsilons is only rounding error, and counts as 10 machine epsilons. Matrix products in
    TF32, which torch uses only if it is asked to, are less exact.
    """

    @staticmethod
    def forward(ctx, features, prototypes, scale, factor, add_mean):
        by_feature = _inverse_lengths(features)  # [B, 1]
        by_prototype = _inverse_lengths(prototypes)  # [C, 1]
        unit_features, unit_prototypes = features * by_feature, prototypes * by_prototype
        # In place from here on: with 1,000 classes a new [B, C] tensor costs more than the
        # computation in it. A squared length is 1, or 0 without a direction.
        squares = torch.add(by_feature.sign(), by_prototype.sign().T).addmm_(
            unit_features, unit_prototypes.T, alpha=-2
        )
        d = roots(squares, unit_features, unit_prototypes, 10 * torch.finfo(features.dtype).eps)
        d.add_(by_feature == 0)  # 1 from the origin to each prototype becomes 2; NaN stays NaN
        slope = scale.sign().mul_(factor)  # ∂k/∂s
        k = slope * scale
        ctx.save_for_backward(
            features,
            prototypes,
            scale,
            slope,
            unit_features,
            unit_prototypes,
            by_feature,
            by_prototype,
            d,
            k,
        )
        ctx.add_mean = add_mean
        # Not in place, as in `geometry`: an output that was changed in place may lose its gradient.
        return (d + d.mean(1, keepdim=True) if add_mean else d) * k

    @staticmethod
    def backward(ctx, gradient):  # pyrefly: ignore[bad-override]
        features, prototypes, scale, slope, *computed = ctx.saved_tensors
        to_features = to_prototypes = None
        with without_autocast(gradient):
            if torch.is_grad_enabled():
                computed = _recorded_forward(features, prototypes, slope * scale)
            unit_features, unit_prototypes, by_feature, by_prototype, d, k = computed
            if ctx.add_mean:
                gradient = gradient + gradient.mean(1, keepdim=True)  # G/k
            to_scale = torch.dot(gradient.reshape(-1), d.view(-1)) * slope
            weights = gradient / d  # W/k
            weighted_cosines = torch.addcmul(weights, gradient, d, value=-0.5)  # W S/k
            if ctx.needs_input_grad[0]:
                along = torch.mul(unit_features, torch.mm(weighted_cosines, by_prototype.sign()))
                to_features = along.addmm_(weights, unit_prototypes, alpha=-1).mul_(by_feature * k)
            if ctx.needs_input_grad[1]:
                along = torch.mul(unit_prototypes, torch.mm(weighted_cosines.T, by_feature.sign()))
                to_prototypes = along.addmm_(weights.T, unit_features, alpha=-1).mul_(
                    by_prototype * k
                )
        return to_features, to_prototypes, to_scale, None, None


def _recorded_forward(features: Tensor, prototypes: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    """Return the forward values that `_DirectionLogits.backward` needs, recorded by autograd."""
    by_feature, by_prototype = _inverse_lengths(features), _inverse_lengths(prototypes)
    unit_features, unit_prototypes = features * by_feature, prototypes * by_prototype
    d = distances(unit_features, unit_prototypes).clamp_min(10 * torch.finfo(features.dtype).eps)
    d = d + (by_feature == 0)
    return unit_features, unit_prototypes, by_feature, by_prototype, d, k
