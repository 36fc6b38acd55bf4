"""Distances that stay finite, with finite gradients: to points (IsoMax), and between directions
(IsoMax+ and DisMax).

The gradients are written by hand. With `create_graph=True` the same equations run on tensors that
have a history, so gradients of any order are right.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import in_one_precision, without_autocast
from .transforms import being_recorded, in_torch_func

LARGE = 1e15  # the squares of numbers of this size still add up in float32
SHORTEST = 1e-18  # a vector shorter than this has no direction: its squares underflow in float32


def distances(points: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distances [N, C] of points [N, D] to prototypes [C, D]; the gradient at distance
    zero is zero.

    One matrix product each in the forward and for either gradient; `_Distances` has the derivation
    and the accuracy.
    """
    points, prototypes = in_one_precision(points, prototypes)
    if in_torch_func():
        return _from_differences(points, prototypes)
    if being_recorded():
        learns = torch.is_grad_enabled() and (points.requires_grad or prototypes.requires_grad)
        return (
            _from_differences(points, prototypes)
            if learns
            else _from_product(points, prototypes)[0]
        )
    return _Distances.apply(points, prototypes)


def _from_differences(points: Tensor, prototypes: Tensor) -> Tensor:
    """Distances [N, C] by plain operations, which torch.func, torch.jit.trace and torch.export can
    follow; takes N·C·D numbers.
    """
    differences = points[:, None] - prototypes
    largest = differences.abs().amax(2).detach()  # divided by it, no square overflows
    apart = largest > 0
    squares = (differences / torch.where(apart, largest, 1)[:, :, None]).square().sum(2)
    return torch.where(apart, squares, 1).sqrt() * largest


def _from_product(points: Tensor, prototypes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances [N, C] by a matrix product; points and prototypes less the prototypes' mean; the
    points' lengths [N, 1].
    """
    middle = prototypes.mean(0)
    points, prototypes = points - middle, prototypes - middle
    # `scale` and `reduction` are 1 unless squares could overflow. A reduced point is so far off
    # that only its length counts.
    scale = (prototypes.abs().max() / 1e7).clamp_min_(1)
    scaled, anchors = points / scale, prototypes / scale
    reduction = (scaled.abs().amax(1, keepdim=True) / LARGE).clamp_min_(1)
    scaled.div_(reduction)
    lengths = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    squares = torch.add(lengths.square(), torch.linalg.vector_norm(anchors, dim=1).square())
    reduction.mul_(scale)
    # Not in place: compiled, PyTorch 2.11 gives an output that was changed in place no gradient.
    d = _roots(squares.addmm_(scaled, anchors.T, alpha=-2), scaled, anchors, 0) * reduction
    return d, points, prototypes, lengths.mul_(reduction)


def _roots(squares: Tensor, points: Tensor, prototypes: Tensor, shortest: float) -> Tensor:
    """Distances [N, C] from their squares (overwritten), each row's smallest from the difference
    itself; `shortest` at least.

    The squares carry the rounding error ε of a sum of larger numbers, which is ε/d² (relative) in
    d: nothing at the distances that most pairs have, but much at a near prototype, on which scores
    and gradients depend. No other distance of the row may fall below the one that is exact: a
    gradient has it in the denominator.
    """
    nearest = squares.min(1, keepdim=True).indices
    difference = prototypes.index_select(0, nearest.view(-1)).sub_(points)
    exact = torch.linalg.vector_norm(difference, dim=1, keepdim=True).clamp_min_(shortest)
    # Not `scatter_(1, nearest, exact)`: for repeatable results that copies from the host, which no
    # CUDA graph can do.
    return squares.clamp_min_(0).sqrt_().scatter_(1, nearest, 0.0).clamp_min_(exact)


class _Distances(torch.autograd.Function):
    """Distances [N, C] of points a [N, D] to prototypes b [C, D], with the gradient by hand.

    Forward: d_ij² = ‖a_i‖² + ‖b_j‖² - 2 a_i·b_j, both less the prototypes' mean, which changes no
    distance and makes the numbers smaller that cancel. Backward, with W_ij = (∂L/∂d_ij)/d_ij:

        ∂L/∂a_i = Σ_j W_ij (a_i - b_j) = a_i Σ_j W_ij - Σ_j W_ij b_j, and ∂L/∂b_j likewise with a
        and b exchanged.

    In float32 it is as accurate as `_DirectionLogits` (see its table), with distances in units of
    ‖a‖. Below 10 machine epsilons of ‖a‖ a distance is only rounding error, and its gradient is
    zero.
    """

    @staticmethod
    def forward(ctx, points, prototypes):
        d, *centred = _from_product(points, prototypes)
        ctx.save_for_backward(points, prototypes, d, *centred)
        return d

    @staticmethod
    def backward(ctx, gradient):  # pyrefly: ignore[bad-override]
        *inputs, d, points, prototypes, lengths = ctx.saved_tensors
        limits = torch.finfo(d.dtype)
        to_points = to_prototypes = None
        with without_autocast(gradient):
            # The inputs and d have a history; what the forward pass computed from them has none.
            if torch.is_grad_enabled():
                middle = inputs[1].detach().mean(0)
                points, prototypes = inputs[0] - middle, inputs[1] - middle
            least = (10 * limits.eps * lengths).clamp_min_(limits.tiny**0.5)
            weights = gradient / torch.where(d > least, d, math.inf)
            if ctx.needs_input_grad[0]:
                to_points = torch.mul(points, weights.sum(1, keepdim=True)).addmm_(
                    weights, prototypes, alpha=-1
                )
            if ctx.needs_input_grad[1]:
                to_prototypes = torch.mul(prototypes, weights.sum(0).unsqueeze(1)).addmm_(
                    weights.T, points, alpha=-1
                )
        return to_points, to_prototypes


def direction_logits(
    features: Tensor, prototypes: Tensor, scale: Tensor, factor: float, add_mean: bool
) -> Tensor:
    """k·d_ij, or with `add_mean` k·(d_ij + mean_j d_ij), of distances between directions d_ij =
    ‖f̂_i - p̂_j‖: [B, C].

    Args:
        features: f [B, D]; one shorter than 1e-18, or whose squares overflow (in float32 from about
            1.8e19 on), counts as zero, without gradient. NaN stays NaN.
        prototypes: p [C, D], likewise.
        scale: s [1].
        factor: a constant c; k = c·|s|.
        add_mean: whether each distance gets the mean over the prototypes added.

    One matrix product each in the forward and for either gradient; `_DirectionLogits` has the
    derivation and the accuracy.
    """
    dtype = torch.promote_types(features.dtype, prototypes.dtype)
    features, prototypes, scale = features.to(dtype), prototypes.to(dtype), scale.to(dtype)
    if in_torch_func() or being_recorded():
        d = distances(
            features * _inverse_lengths(features), prototypes * _inverse_lengths(prototypes)
        )
        return (d + d.mean(1, keepdim=True) if add_mean else d) * (factor * scale.abs())
    return _DirectionLogits.apply(features, prototypes, scale, factor, add_mean)


def cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    """cos(f_i, p_j) [B, C] of features [B, D] and prototypes [C, D]; 0, without gradient, where
    `direction_logits` has none.
    """
    features, prototypes = in_one_precision(features, prototypes)
    return (features * _inverse_lengths(features)) @ (prototypes * _inverse_lengths(prototypes)).T


def _inverse_lengths(vectors: Tensor) -> Tensor:
    """1/‖v‖ [N, 1]; 0, without gradient, for a vector that has no direction."""
    if not (in_torch_func() or being_recorded()):
        return _InverseLengths.apply(vectors)
    has_direction = torch.linalg.vector_norm(vectors.detach(), dim=1, keepdim=True) > SHORTEST
    # The gradient of a length of 0 would be NaN.
    return has_direction / torch.linalg.vector_norm(
        torch.where(has_direction, vectors, 1), dim=1, keepdim=True
    )


class _InverseLengths(torch.autograd.Function):
    """1/‖v‖ with the gradient -v/‖v‖³, which can be differentiated again even where v is zero;
    autograd's own is NaN there.
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
        # The lengths have no history.
        return slope * (
            vectors * inverse if torch.is_grad_enabled() else vectors / lengths.clamp_min(SHORTEST)
        )


class _DirectionLogits(torch.autograd.Function):
    """`direction_logits` with its gradient by hand, which takes half the time of autograd's own
    chain.

    Forward: d_ij² = ‖f̂_i‖² + ‖p̂_j‖² - 2 S_ij with S = f̂ p̂ᵀ.

    Backward: with G_ij = ∂L/∂d_ij = k·(g_ij + [add_mean] mean_j g_ij) and ∂d_ij/∂f̂_i = (f̂_i -
    p̂_j)/d_ij,

        ∂L/∂f_i = (1/‖f_i‖)(I - f̂_i f̂_iᵀ) Σ_j W_ij (f̂_i - p̂_j)          W_ij = G_ij/d_ij =
                (1/‖f_i‖)(f̂_i Σ_j W_ij S_ij - Σ_j W_ij p̂_j)            S_ij = 1 - d_ij²/2, so W_ij
                S_ij = W_ij - G_ij d_ij/2

    since the projection removes f̂_i; ∂L/∂p_j is the same with f and p exchanged; ∂L/∂k = Σ_ij
    (g_ij + [add_mean] mean_j g_ij) d_ij. A vector without a direction has 1/‖v‖ = 0 here, and so no
    gradient; its S are 0 and left out of the other's sum.

    Accuracy in float32. Each value has a relative error of at most 1e-4 where the distance is as
    large as this:

    ======================================  ==========  ===================
    value                                   distance    smaller distances
    ======================================  ==========  ===================
    smallest distance of a row              1e-3
    gradient to the nearest prototype       0.01        error grows as 1/d
    gradient to any other prototype         0.1         error grows as 1/d²
    ======================================  ==========  ===================

    (Two prototypes within 0.1 of one feature lie within 12° of each other.) A distance below 10
    machine epsilons is only rounding error, and counts as 10 machine epsilons. Matrix products in
    TF32, which torch uses only where it is asked to, are less exact.
    """

    @staticmethod
    def forward(ctx, features, prototypes, scale, factor, add_mean):
        # [B, 1], [C, 1].
        by_feature, by_prototype = _inverse_lengths(features), _inverse_lengths(prototypes)
        unit_features, unit_prototypes = features * by_feature, prototypes * by_prototype
        # In place from here on: at 1,000 classes a new [B, C] costs more than what is computed in
        # it. A square length is 1, or 0 without a direction.
        squares = torch.add(by_feature.sign(), by_prototype.sign().T).addmm_(
            unit_features, unit_prototypes.T, alpha=-2
        )
        d = _roots(squares, unit_features, unit_prototypes, 10 * torch.finfo(features.dtype).eps)
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
        return (d + d.mean(1, keepdim=True) if add_mean else d) * k  # not in place: see above

    @staticmethod
    def backward(ctx, gradient):  # pyrefly: ignore[bad-override]
        features, prototypes, scale, slope, *known = ctx.saved_tensors
        to_features = to_prototypes = None
        with without_autocast(gradient):
            if torch.is_grad_enabled():
                known = _with_history(features, prototypes, slope * scale)
            unit_features, unit_prototypes, by_feature, by_prototype, d, k = known
            if ctx.add_mean:
                gradient = gradient + gradient.mean(1, keepdim=True)  # G/k
            to_scale = torch.dot(gradient.reshape(-1), d.view(-1)) * slope
            weights = gradient / d  # W/k
            cosines = torch.addcmul(weights, gradient, d, value=-0.5)  # W S/k
            if ctx.needs_input_grad[0]:
                along = torch.mul(unit_features, torch.mm(cosines, by_prototype.sign()))
                to_features = along.addmm_(weights, unit_prototypes, alpha=-1).mul_(by_feature * k)
            if ctx.needs_input_grad[1]:
                along = torch.mul(unit_prototypes, torch.mm(cosines.T, by_feature.sign()))
                to_prototypes = along.addmm_(weights.T, unit_features, alpha=-1).mul_(
                    by_prototype * k
                )
        return to_features, to_prototypes, to_scale, None, None


def _with_history(features: Tensor, prototypes: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    """What `_DirectionLogits.backward` needs, computed again from the inputs by operations that can
    be differentiated.
    """
    by_feature, by_prototype = _inverse_lengths(features), _inverse_lengths(prototypes)
    unit_features, unit_prototypes = features * by_feature, prototypes * by_prototype
    d = distances(unit_features, unit_prototypes).clamp_min(10 * torch.finfo(features.dtype).eps)
    return unit_features, unit_prototypes, by_feature, by_prototype, d, k
