"""DenseNet-BC for small images (Huang et al. 2017, arXiv 1608.06993).

It has bottlenecks, and transitions that halve the number of channels.
"""

import torch
from torch import Tensor, nn

GROWTH = 12  # k: channels that each layer adds


class _DenseLayer(nn.Module):
    """BN-ReLU-conv1×1 to 4k channels, then BN-ReLU-conv3×3 to k channels, which are concatenated to
    the input.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 4 * GROWTH, 1, bias=False),
            nn.BatchNorm2d(4 * GROWTH),
            nn.ReLU(inplace=True),
            nn.Conv2d(4 * GROWTH, GROWTH, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


def _transition(channels: int) -> nn.Sequential:
    """Return BN-ReLU-conv1×1 to half the channels, then average pooling to half the size."""
    convolution = nn.Conv2d(channels, channels // 2, 1, bias=False)
    return nn.Sequential(
        nn.BatchNorm2d(channels), nn.ReLU(inplace=True), convolution, nn.AvgPool2d(2)
    )


def densenet_body(depth: int) -> tuple[nn.Sequential, int]:
    """Return the body of DenseNet-BC-`depth` with k = 12, and its number of features.

    It has 3 dense blocks of (depth - 4)/6 layers. Raises ValueError for an impossible depth.
    """
    layers, remainder = divmod(depth - 4, 6)
    if remainder or layers < 1:
        raise ValueError(f"a DenseNet-BC's depth is 6n + 4 (40, 100, 190, ...), got {depth}")
    channels = 2 * GROWTH
    body: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    for block in range(3):
        if block:
            body.append(_transition(channels))
            channels //= 2
        for _ in range(layers):
            body.append(_DenseLayer(channels))
            channels += GROWTH
    return nn.Sequential(*body, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)), channels
