"""Convolutions with a bounded spectral norm."""

import copy

import pytest
import torch
from torch import nn

from losses import LOSSES
from losses.spectral import bound_convolutions
from models import build_model
from tests.heads import C


def dense_norm(convolution, weight, size):
    """Return the convolution's spectral norm for images of this size, from its whole matrix."""
    basis = torch.eye(convolution.in_channels * size**2, dtype=weight.dtype).view(
        -1, convolution.in_channels, size, size
    )
    images = nn.functional.conv2d(basis, weight, None, convolution.stride, convolution.padding)
    return torch.linalg.matrix_norm(images.flatten(1), 2).item()


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_norms_above_the_bound_are_reduced_to_it_and_others_stay(kernel_size, stride):
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, kernel_size, stride, padding=kernel_size // 2).double()
    norm = dense_norm(convolution, convolution.weight.detach(), 16)
    for bound in (0.5 * norm, 2 * norm):
        bounded = bound_convolutions(nn.Sequential(copy.deepcopy(convolution)), bound)
        # The first iterations give an estimate, further ones the exact value.
        assert dense_norm(convolution, bounded[0].weight.detach(), 16) == pytest.approx(
            min(norm, bound), rel=0.15
        )
        for _ in range(200):
            bounded(torch.zeros(1, 2, 16, 16, dtype=torch.float64))
        assert dense_norm(convolution, bounded[0].weight.detach(), 16) == pytest.approx(
            min(norm, bound), rel=1e-3
        )
        state = {name: value.clone() for name, value in bounded.state_dict().items()}
        bounded.eval()(torch.zeros(1, 2, 16, 16, dtype=torch.float64))
        assert all(value.equal(state[name]) for name, value in bounded.state_dict().items())


@pytest.mark.parametrize("scale", [1e-12, 1e10])
def test_a_convolution_of_any_scale_or_of_zeros_is_bounded(scale):
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, 3, padding=1)
    nn.init.zeros_(convolution.weight)
    bounded = bound_convolutions(nn.Sequential(convolution), 1.0)
    original = bounded[0].parametrizations.weight.original
    with torch.no_grad():
        original.normal_().mul_(scale)
    for _ in range(50):
        bounded(torch.zeros(1, 2, 8, 8))
    unbounded = dense_norm(convolution, original.detach().double(), 16)
    assert dense_norm(convolution, bounded[0].weight.detach().double(), 16) == pytest.approx(
        min(unbounded, 1), rel=1e-2
    )


def test_other_paddings_than_zeros_are_an_error():
    for options in ({"padding": "same"}, {"padding": 1, "padding_mode": "circular"}):
        with pytest.raises(ValueError, match="padded by a number of zeros"):
            bound_convolutions(nn.Sequential(nn.Conv2d(2, 3, 3, **options)))


@pytest.mark.parametrize("model_name", ["densenetbc22", "resnet10", "wideresnet101"])
def test_sngp_bounds_every_convolution_and_other_losses_none(model_name):
    for name in ("sngp", "softmax"):
        model = LOSSES[name].wrap(build_model(model_name, C, LOSSES[name].head))
        kinds = {
            nn.utils.parametrize.is_parametrized(module)
            for module in model.modules()
            if isinstance(module, nn.Conv2d)
        }
        assert kinds == {name == "sngp"}
