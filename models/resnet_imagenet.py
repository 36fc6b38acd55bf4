"""torchvision's ResNets for images of 224 pixels (He et al. 2016, arXiv 1512.03385).

They begin with a 7×7 convolution of stride 2 and max pooling.
"""

from torch import nn

DEPTHS = (18, 34, 50, 101, 152)


def resnet_imagenet_body(depth: int) -> tuple[nn.Sequential, int]:
    """Return the body of torchvision's ResNet-`depth` and its number of features.

    The weight of each block's last batch norm starts at 0, as in timm's ResNets, which the paper
    used. Raises ValueError for another depth, and ImportError without torchvision.
    """
    if depth not in DEPTHS:
        raise ValueError(f"a ResNet's depth is one of {', '.join(map(str, DEPTHS))}, got {depth}")
    try:
        from torchvision import models
    except ImportError as error:
        raise ImportError(
            f"resnet{depth}_imagenet is torchvision's network: pip install torchvision"
        ) from error
    network = getattr(models, f"resnet{depth}")(zero_init_residual=True)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    return nn.Sequential(
        *stem, network.layer1, network.layer2, network.layer3, network.layer4
    ), network.fc.in_features
