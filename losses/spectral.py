"""Convolutions with an upper bound on their spectral norm (Gouk et al. 2021, arXiv 1804.04368;
SNGP, arXiv 2006.10108).
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.nn.utils import parametrize

from .common import in_backward, without_autocast

Model = TypeVar("Model", bound=nn.Module)
GRID = 16  # height and width, in pixels, of the images on which a norm is estimated
BOUND = 6.0  # SNGP's bound for WideResNet-28-10 on CIFAR
WARM_UP = 15  # power iterations at the start; afterwards there is one in each training step


def _normalize(vector: Tensor, if_zero: Tensor) -> Tensor:
    """Return the vector at length 1, or `if_zero` for a zero vector, which has no direction."""
    length = torch.linalg.vector_norm(vector)
    return torch.where(
        length > 0, vector / length.clamp_min(torch.finfo(vector.dtype).tiny), if_zero
    )


class _BoundedWeight(nn.Module):
    """Parametrization of a convolution's weight w [O, I, kh, kw] as w/max(1, σ/bound).

    σ is the spectral norm of the convolution, estimated by power iteration. It is the norm of the
    linear map from images to images, with zero padding and stride. (The norm of the weight as a
    matrix is another number.) It grows with the size of the images towards a limit. On 16×16 pixels
    it is within a few per cent of that limit.
    """

    def __init__(self, convolution: nn.Conv2d, bound: float):
        super().__init__()
        self.bound = bound
        self.options = {
            name: getattr(convolution, name) for name in ("stride", "padding", "dilation", "groups")
        }
        weight = convolution.weight.detach()
        start = torch.randn(
            1, convolution.in_channels, GRID, GRID, device=weight.device, dtype=weight.dtype
        )
        # The input image of length 1 whose output is longest.
        self.register_buffer("direction", _normalize(start, start))
        for _ in range(WARM_UP):
            self._iterate(weight)

    @torch.no_grad()
    def _iterate(self, weight: Tensor) -> None:
        output = F.conv2d(self.direction, weight, **self.options)
        # Normalise after each half, since σ² overflows and underflows long before σ.
        unit_output = _normalize(output, output)
        back = conv2d_input(self.direction.shape, weight, unit_output, **self.options)
        self.direction.copy_(_normalize(back, self.direction))

    def forward(self, weight: Tensor) -> Tensor:
        with without_autocast(weight):
            if self.training and not in_backward():
                self._iterate(weight)
            # A copy, since the next forward pass may change the buffer before this one's backward
            # pass.
            output = F.conv2d(self.direction.clone(), weight, **self.options)
            sigma = torch.linalg.vector_norm(output)
            return weight / (sigma / self.bound).clamp_min(1)


def bound_convolutions(model: Model, bound: float = BOUND) -> Model:
    """Bound the spectral norm of each `nn.Conv2d` of the model, in place, and return the model.

    The norm stays near `bound` or below it. It is estimated from below, so it can be up to 4 %
    above. (torch's own `spectral_norm` sets it to 1.)

    Raises:
        ValueError: for a convolution that does not pad by a number of zeros.
    """
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d) and not parametrize.is_parametrized(module, "weight"):
            if isinstance(module.padding, str) or module.padding_mode != "zeros":
                raise ValueError(
                    f"only convolutions padded by a number of zeros can be bounded, got {module}"
                )
            parametrize.register_parametrization(module, "weight", _BoundedWeight(module, bound))
    return model
