"""The limit of the arithmetic units, and the operations that a network needs."""

from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import build_model

from .common import in_turns

SHAPES = ((64, 32), (128, 16), (256, 8))  # channels, height of ResNet-34's first three stages


def ceiling(dtype: torch.dtype, device: torch.device, backward: bool, repeats: int) -> float:
    """Return the floating-point operations per second of the fastest of three 3×3 convolutions.

    Their batches have 64 images and are channels last.

    Args:
        backward: whether to measure the backward pass too.
        repeats: measurements, of which the median counts.
    """
    rates = []
    for channels, side in SHAPES:
        layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
        layer = layer.to(memory_format=torch.channels_last)
        inputs = torch.randn(64, channels, side, side, device=device).to(
            dtype, memory_format=torch.channels_last
        )
        inputs.requires_grad_(backward)
        upstream = torch.randn_like(inputs)

        def both(layer=layer, inputs=inputs, upstream=upstream):
            torch.autograd.grad(layer(inputs), (inputs, layer.weight), upstream)

        def forward(layer=layer, inputs=inputs):
            with torch.inference_mode():
                layer(inputs)

        seconds = in_turns({"convolution": both if backward else forward}, repeats)["convolution"]
        rates.append((3 if backward else 1) * 2 * 64 * (channels * side) ** 2 * 9 / seconds)
    return max(rates)


@cache
def flops(name: str, backward: bool) -> int:
    """Return the floating-point operations of a network for one image of 32×32 pixels.

    Args:
        name: of the network.
        backward: whether to count the backward pass too.
    """
    model = build_model(name, 10, nn.Linear)
    with FlopCounterMode(display=False) as counter:
        outputs = model(torch.randn(2, 3, 32, 32))
        if backward:
            outputs.sum().backward()
    return counter.get_total_flops() // 2
