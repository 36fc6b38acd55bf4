"""Directions and distances that stay finite, with finite gradients, at any scale of their inputs."""

import torch
from torch import Tensor

# Vectors with no entry above this have no direction. Their squares underflow in float32, and 1/‖v‖, the size of the gradient, nears
# its largest number.
SHORTEST = 1e-30
LARGE = 1e15  # the squares of numbers of this size still add up in float32


def unit(vectors: Tensor) -> Tensor:
    """v̂ = v/‖v‖₂ of vectors [N, D].

    A vector with no entry above `SHORTEST` (a zero vector, say) maps to zero and receives no gradient; NaN and infinities give NaN.
    """
    # Dividing by a constant first changes neither value nor gradient, and keeps the squares from over- and underflowing.
    largest = vectors.detach().abs().amax(1, keepdim=True)
    directed = ~(largest <= SHORTEST)  # true for NaN, which has to stay visible
    scaled = vectors / torch.where(directed, largest, 1)
    length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return torch.where(directed, scaled / torch.where(directed, length, 1), 0)


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
