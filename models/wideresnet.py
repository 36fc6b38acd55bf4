"""WideResNet for small images, as in the DisMax paper's code.

It differs from the original (Zagoruyko & Komodakis 2016, arXiv 1605.07146) in four ways:

- The second 3×3 convolution of a block has the stride, unlike in the original and in torchvision's
  ResNets. (WideResNet-28-10 has 5.95 G multiply-adds; it would have 5.24 G with the stride in the
  first.)
- The shortcut is a 1×1 convolution of the block's input before batch norm and ReLU.
- Every convolution has a bias.
- The momentum of the last batch norm's running statistics is 0.9 rather than 0.1.
"""

from torch import Tensor, nn


class _PreActivationBlock(nn.Module):
    """BN-ReLU-conv3×3 twice, added to a shortcut.

    The shortcut is the identity, or a 1×1 convolution if the shape changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1),
        )
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.activation(x)) + self.shortcut(x)


def wideresnet_body(depth: int, width: int) -> tuple[nn.Sequential, int]:
    """Return the body of WideResNet-`depth`-`width` and its number of features.

    It has 3 stages of (depth - 4)/6 blocks. Raises ValueError for an impossible depth or width.
    """
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
            stride = 2 if stage and not block else 1
            body.append(_PreActivationBlock(channels, outputs, stride))
            channels = outputs
    body += [nn.BatchNorm2d(channels, momentum=0.9), nn.ReLU(inplace=True)]
    return nn.Sequential(*body), channels
