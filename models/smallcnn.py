"""A network of a few layers for tiny images: the built-in digits, 8×8, train in seconds on a
laptop.
"""

from torch import nn


def _layer(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def smallcnn_body() -> tuple[nn.Sequential, int]:
    """Four 3×3 convolutions (32, 32, 64, 64 channels; the third at stride 2), and the number of
    features.
    """
    return nn.Sequential(
        *_layer(3, 32), *_layer(32, 32), *_layer(32, 64, stride=2), *_layer(64, 64)
    ), 64
