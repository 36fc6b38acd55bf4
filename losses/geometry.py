"""Directions and distances that stay finite, with finite gradients, at any scale of their inputs."""

import torch
from torch import Tensor

# Vectors shorter than this have no direction. Their squares underflow in float32, and 1/‖v‖, the size of the gradient, nears
# its largest number.
SHORTEST = 1e-30


def unit(vectors: Tensor) -> Tensor:
    """v̂ = v/‖v‖₂ of vectors [N, D].

    A vector shorter than `SHORTEST` (a zero vector, say) maps to zero and receives no gradient; NaN and infinities give NaN.
    """
    # Dividing by a constant first changes neither value nor gradient, and keeps the squares from over- and underflowing.
    largest = vectors.detach().abs().amax(1, keepdim=True)
    directed = ~(largest <= SHORTEST)  # true for NaN, which has to stay visible
    scaled = vectors / torch.where(directed, largest, 1)
    length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return torch.where(directed, scaled / torch.where(directed, length, 1), 0)


def distances(points: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distances [N, C] of points [N, D] to prototypes [C, D]; the gradient at distance zero is zero.

    Computed from the differences, not from ‖a‖² - 2ab + ‖b‖², which loses half the digits of a small distance.
    """
    dtype = torch.promote_types(points.dtype, prototypes.dtype)
    points, prototypes = points.to(dtype), prototypes.to(dtype)
    largest = prototypes.detach().abs().amax()
    if len(points):
        largest = torch.maximum(largest, points.detach().abs().amax())
    # Only where squares would overflow or vanish in float32; elsewhere the scale is exactly 1.
    extreme = (largest > 1e15) | ((largest < 1e-15) & (largest > SHORTEST))
    scale = torch.where(extreme, largest, 1)
    return scale * torch.cdist(points / scale, prototypes / scale, compute_mode="donot_use_mm_for_euclid_dist")
