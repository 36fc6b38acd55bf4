"""Convolutions whose spectral norm has an upper bound (Gouk et al. 2021, arXiv 1804.04368; SNGP,
arXiv 2006.10108).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.nn.utils import parametrize

from .precision import without_autocast
from .transforms import in_backward

GRID = 16  # pixels each way of the images on which a convolution's norm is estimated
BOUND = 6.0  # SNGP's for WideResNet-28-10 on CIFAR
WARM_UP = 15  # power iterations at the start; then one a training step


def _unit(vector: Tensor, otherwise: Tensor) -> Tensor:
    """The vector at length 1; another in the place of zero, which has no direction."""
    length = torch.linalg.vector_norm(vector)
    return torch.where(
        length > 0, vector / length.clamp_min(torch.finfo(vector.dtype).tiny), otherwise
    )


class _Bounded(nn.Module):
    """A convolution's weight w [O, I, kh, kw] as w/max(1, σ/bound), with its spectral norm σ by
    power iteration.

    σ is the norm of the linear map from images to images, zero padding and stride included, which
    that of the weight as a matrix is not. It grows with the images' size towards a limit; on 16×16
    pixels it is within a few per cent of that.
    """

    def __init__(self, convolution: nn.Conv2d, bound: float):
        super().__init__()
        self.bound = bound
        self.how = {
            name: getattr(convolution, name) for name in ("stride", "padding", "dilation", "groups")
        }
        weight = convolution.weight.detach()
        start = torch.randn(
            1, convolution.in_channels, GRID, GRID, device=weight.device, dtype=weight.dtype
        )
        # V, the input image that the convolution stretches most.
        self.register_buffer("direction", _unit(start, start))
        for _ in range(WARM_UP):
            self._iterate(weight)

    @torch.no_grad()
    def _iterate(self, weight: Tensor) -> None:
        stretched = F.conv2d(self.direction, weight, **self.how)
        # Twice to unit length, since σ² over- and underflows long before σ.
        back = conv2d_input(self.direction.shape, weight, _unit(stretched, stretched), **self.how)
        self.direction.copy_(_unit(back, self.direction))

    def forward(self, weight: Tensor) -> Tensor:
        with without_autocast(weight):
            if self.training and not in_backward():
                self._iterate(weight)
            # A copy, since the next forward pass may change the buffer before the backward pass of
            # this one.
            sigma = torch.linalg.vector_norm(F.conv2d(self.direction.clone(), weight, **self.how))
            return weight / (sigma / self.bound).clamp_min(1)


def bound_convolutions(model: nn.Module, bound: float = BOUND) -> nn.Module:
    """The model with each `nn.Conv2d`'s spectral norm held at `bound` or below, in place. (torch's
    own sets it to 1.)

    Raises ValueError for a convolution that pads by other than a number of zeros.
    """
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d) and not parametrize.is_parametrized(module, "weight"):
            if isinstance(module.padding, str) or module.padding_mode != "zeros":
                raise ValueError(
                    f"only convolutions padded by a number of zeros can be bounded, got {module}"
                )
            parametrize.register_parametrization(module, "weight", _Bounded(module, bound))
    return model
