"""A network of a few layers for tiny images.

On the built-in digits of 8×8 pixels it trains in seconds on a laptop.
"""

from torch import nn


def _layer(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def smallcnn_body() -> tuple[nn.Sequential, int]:
    """Return a body of four 3×3 convolutions, and its number of features.

    They have 32, 32, 64 and 64 channels. The third has stride 2.
    """
    return nn.Sequential(
        *_layer(3, 32), *_layer(32, 32), *_layer(32, 64, stride=2), *_layer(64, 64)
    ), 64
