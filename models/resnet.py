"""ResNet with basic blocks and a 3×3 stem for small images (He et al. 2016, arXiv 1512.03385)."""

from torch import Tensor, nn

# Depth → number of blocks of each stage.
BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions, added to a shortcut.

    The shortcut is the identity, or a 1×1 convolution if the shape changes. The weight of the last
    batch norm starts at 0, so that a new block outputs only its shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        last = nn.BatchNorm2d(outputs)
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return (self.layers(x) + self.shortcut(x)).relu_()


def resnet_body(depth: int) -> tuple[nn.Sequential, int]:
    """Return the body of ResNet-`depth` and its number of features.

    The stages have 64, 128, 256 and 512 channels. Raises ValueError for another depth.
    """
    if depth not in BLOCKS:
        raise ValueError(f"a ResNet's depth is one of {', '.join(map(str, BLOCKS))}, got {depth}")
    channels = 64
    body: list[nn.Module] = [
        nn.Conv2d(3, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    for stage, blocks in enumerate(BLOCKS[depth]):
        outputs = 64 * 2**stage
        for block in range(blocks):
            body.append(_BasicBlock(channels, outputs, stride=2 if stage and not block else 1))
            channels = outputs
    return nn.Sequential(*body), channels
