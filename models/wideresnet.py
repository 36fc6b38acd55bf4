"""WideResNet for small images (Zagoruyko & Komodakis 2016, arXiv 1605.07146), with biased convolutions.

The DisMax paper's WideResNet-28-10 differs from the original in two ways: every convolution has a bias (as its parameter count
shows), and the last batch norm's running statistics move by 0.9 a step rather than 0.1.
"""

from torch import Tensor, nn


class _PreActivationBlock(nn.Module):
    """BN-ReLU-conv3×3 twice beside a shortcut, which is a 1×1 convolution of the first activation where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.activation(x)
        return self.layers(activated) + (x if self.shortcut is None else self.shortcut(activated))


def wideresnet_body(depth: int, width: int) -> tuple[nn.Module, int]:
    """The body of WideResNet-`depth`-`width` and its number of features: 3 stages of (depth - 4)/6 blocks."""
    blocks, remainder = divmod(depth - 4, 6)
    if remainder or blocks < 1:
        raise ValueError(f"a WideResNet's depth is 6n + 4 (10, 16, 28, 40, ...), got {depth}")
    if width < 1:
        raise ValueError(f"a WideResNet's width is 1 or more, got {width}")
    channels = 16
    body: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
    for stage in range(3):
        outputs = 16 * width * 2**stage
        for block in range(blocks):
            body.append(_PreActivationBlock(channels, outputs, stride=2 if stage and not block else 1))
            channels = outputs
    return nn.Sequential(*body, nn.BatchNorm2d(channels, momentum=0.9), nn.ReLU(inplace=True)), channels
