"""Euclidean distances of points that stay finite and have finite gradients (IsoMax).

The gradients are written by hand. With `create_graph=True` the same equations run on tensors that
autograd records, so gradients of any order are right.
"""

import math

import torch
from torch import Tensor

from .common import being_recorded, in_one_precision, in_torch_func, without_autocast

LARGE = 1e15  # sums of squares of numbers up to this size do not overflow in float32


def distances(points: Tensor, prototypes: Tensor) -> Tensor:
    """Return Euclidean distances [N, C] of points [N, D] to prototypes [C, D].

    The gradient at distance zero is zero. The forward pass takes one matrix product, and so does
    each of the two gradients. `_Distances` has the derivation and the accuracy.
    """
    points, prototypes = in_one_precision(points, prototypes)
    if in_torch_func():
        return _from_differences(points, prototypes)
    if being_recorded():
        if torch.is_grad_enabled() and (points.requires_grad or prototypes.requires_grad):
            return _from_differences(points, prototypes)
        return _from_product(points, prototypes)[0]
    return _Distances.apply(points, prototypes)


def _from_differences(points: Tensor, prototypes: Tensor) -> Tensor:
    """Return distances [N, C] by plain operations on all differences.

    torch.func, torch.jit.trace and torch.export can follow these. They need memory for N·C·D
    numbers.
    """
    differences = points[:, None] - prototypes
    largest = differences.abs().amax(2).detach()  # after division by it, no square overflows
    apart = largest > 0
    squares = (differences / torch.where(apart, largest, 1)[:, :, None]).square().sum(2)
    return torch.where(apart, squares, 1).sqrt() * largest


def _from_product(points: Tensor, prototypes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return distances [N, C] by a matrix product.

    Also return the points and the prototypes minus the prototypes' mean, and the lengths [N, 1] of
    these centred points.
    """
    middle = prototypes.mean(0)
    points = points - middle
    prototypes = prototypes - middle
    # `scale` and `reduction` are 1 unless squares could overflow. A point that is reduced is so far
    # from the prototypes that only its length counts.
    scale = (prototypes.abs().max() / 1e7).clamp_min_(1)
    scaled, anchors = points / scale, prototypes / scale
    reduction = (scaled.abs().amax(1, keepdim=True) / LARGE).clamp_min_(1)
    scaled.div_(reduction)
    lengths = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    squares = torch.add(lengths.square(), torch.linalg.vector_norm(anchors, dim=1).square())
    reduction.mul_(scale)
    # Not in place: compiled by PyTorch 2.11, an output that was changed in place has no gradient.
    d = roots(squares.addmm_(scaled, anchors.T, alpha=-2), scaled, anchors, 0) * reduction
    return d, points, prototypes, lengths.mul_(reduction)


def roots(squares: Tensor, points: Tensor, prototypes: Tensor, shortest: float) -> Tensor:
    """Return distances [N, C] from their squares, which are overwritten.

    The smallest distance of each row is computed from the difference itself, and is at least
    `shortest`. The squares have the rounding error ε of a sum of larger numbers. In d the relative
    error is ε/d². It is negligible at the distances that most pairs have, but large for a near
    prototype, on which scores and gradients depend. No other distance of the row may be smaller
    than the exact one, since gradients are divided by it.
    """
    nearest = squares.min(1, keepdim=True).indices
    difference = prototypes.index_select(0, nearest.view(-1)).sub_(points)
    exact = torch.linalg.vector_norm(difference, dim=1, keepdim=True).clamp_min_(shortest)
    # Not `scatter_(1, nearest, exact)`: with deterministic algorithms it copies from the host,
    # which no CUDA graph can do.
    return squares.clamp_min_(0).sqrt_().scatter_(1, nearest, 0.0).clamp_min_(exact)


class _Distances(torch.autograd.Function):
    """Distances [N, C] of points a [N, D] to prototypes b [C, D], with a gradient written by hand.

    Forward: d_ij² = ‖a_i‖² + ‖b_j‖² - 2 a_i·b_j. The prototypes' mean is subtracted from a and b
    first. This changes no distance, and makes the terms that cancel smaller.

    Backward, with W_ij = (∂L/∂d_ij)/d_ij:

        ∂L/∂a_i = Σ_j W_ij (a_i - b_j) = a_i Σ_j W_ij - Σ_j W_ij b_j

    ∂L/∂b_j is the same with a and b exchanged.

    In float32 it is as accurate as `directions._DirectionLogits` (see its table), with distances in
    units of ‖a‖. A distance below 10 machine epsilons of ‖a‖ is only rounding error, and its
    gradient is zero.
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
            # Autograd records the inputs and d, but not what forward computed from them.
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
