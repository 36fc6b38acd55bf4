"""WideResNet for small images, as the DisMax paper's code has it.

It differs from the original (Zagoruyko & Komodakis 2016, arXiv 1605.07146) in four ways, and from
both the original and torchvision's ResNets in where it halves the size:

- the stride is in a block's second 3×3 convolution (5.95 G multiply-adds for 28-10; 5.24 G if it
  were in the first);
- the shortcut is a 1×1 convolution of the block's input as it comes, before batch norm and ReLU;
- every convolution has a bias;
- the last batch norm's running statistics move by 0.9 a step rather than 0.1.
"""

from torch import Tensor, nn


class _PreActivationBlock(nn.Module):
    """BN-ReLU-conv3×3 twice, and a shortcut: a 1×1 convolution where the shape changes."""

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
    """The body of WideResNet-`depth`-`width` and its number of features.

    It has 3 stages of (depth - 4)/6 blocks. Raises ValueError for a depth or width that cannot be.
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
