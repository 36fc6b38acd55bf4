"""What the arithmetic units allow, and what a network asks of them."""

from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import build_model

from .common import in_turns

SHAPES = ((64, 32), (128, 16), (256, 8))  # channels, side: ResNet-34's first three stages


def ceiling(dtype: torch.dtype, device: torch.device, backward: bool, repeats: int) -> float:
    """Floating-point operations a second of the fastest of three 3×3 convolutions, batch 64,
    channels last.
    """
    rates = []
    for channels, side in SHAPES:
        layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(
            device, dtype, memory_format=torch.channels_last
        )
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
    """Floating-point operations of a network for an image of 32×32, forward or forward and
    backward.
    """
    model = build_model(name, 10, nn.Linear)
    with FlopCounterMode(display=False) as counter:
        outputs = model(torch.randn(2, 3, 32, 32))
        if backward:
            outputs.sum().backward()
    return counter.get_total_flops() // 2
