"""The table of networks. A network turns images [B, 3, H, W] into features [B, D] and gives them to
a head, which the caller passes in.
"""

import re
from collections.abc import Callable

from torch import nn

from .densenet import densenet_body
from .library import build_library_network, normalization, pretrained_weights, split_name
from .network import Head, Network, Start, initialise
from .openood import by_order, load_openood, to_openood
from .openood_network import OpenOODNetwork
from .resnet import resnet_body
from .resnet_imagenet import resnet_imagenet_body
from .smallcnn import smallcnn_body
from .wideresnet import wideresnet_body

# Pattern of a family's names → function that makes a body from the numbers in the name, and the
# title in the papers. A number has at most three digits: a network of 100,000 layers would take
# hours to build and fit on no device.
FAMILIES = {
    r"densenetbc(\d{1,3})": (densenet_body, "DenseNet-BC-{}"),
    r"resnet(\d{1,3})": (resnet_body, "ResNet-{}"),
    r"resnet(\d{1,3})_imagenet": (resnet_imagenet_body, "ResNet-{} for ImageNet"),
    r"wideresnet(\d\d)(\d{1,3})": (wideresnet_body, "WideResNet-{}-{}"),
    r"smallcnn": (smallcnn_body, "small CNN"),
}
EXAMPLES = (
    "densenetbc100",
    "densenetbc40",
    "resnet34",
    "resnet18",
    "wideresnet2810",
    "wideresnet164",
    "resnet18_imagenet",
    "smallcnn",
)


def _parse(name: str) -> tuple[Callable[..., tuple[nn.Sequential, int]], str, list[int]]:
    """Return the family's body function, its title, and the numbers in the name."""
    for pattern, (make_body, title) in FAMILIES.items():
        if match := re.fullmatch(pattern, name):
            return make_body, title, [int(number) for number in match.groups()]
    raise ValueError(
        f"unknown model {name!r}: choose from {', '.join(EXAMPLES)}, or others of these families, "
        "or timm/NAME or torchvision/NAME"
    )


def build_model(name: str, num_classes: int, head: Head, start: Start = "paper") -> Network:
    """Return a new network.

    Args:
        name: `densenetbc{depth}`, `resnet{depth}`, `wideresnet{depth}{width}` (the depth has two
            digits), `resnet{depth}_imagenet` or `smallcnn`; e.g. "densenetbc100" or
            "wideresnet2810"; or `timm/NAME` or `torchvision/NAME`, a classifier of that library.
        num_classes: number of classes of the head.
        head: makes the head from (num_features, num_classes), e.g. `losses.DisMaxLossFirstPart`.
        start: how the weights are initialised, as in `Network`. A network of a library is
            initialised as the library does it.

    Raises:
        ValueError: for an unknown name, or if a network of this family cannot have these numbers.
    """
    if parts := split_name(name):
        return build_library_network(*parts, num_classes, head)
    make_body, _, numbers = _parse(name)
    body, num_features = make_body(*numbers)
    network = Network(body, num_features, num_classes, head)
    initialise(network, start)
    return network


def model_title(name: str) -> str:
    """Return the name of a network as the papers write it, for tables."""
    if parts := split_name(name):
        library, network = parts
        return f"{network} ({library})"
    _, title, numbers = _parse(name)
    return title.format(*numbers)


__all__ = [
    "EXAMPLES",
    "Head",
    "Network",
    "OpenOODNetwork",
    "Start",
    "build_model",
    "by_order",
    "load_openood",
    "model_title",
    "normalization",
    "pretrained_weights",
    "split_name",
    "to_openood",
]
