"""The networks: images [B, 3, H, W] to features [B, D] to a head, which comes in as an argument."""

import re

from .densenet import densenet_body
from .network import Head, Network, Start
from .resnet import resnet_body
from .resnet_imagenet import resnet_imagenet_body
from .smallcnn import smallcnn_body
from .wideresnet import wideresnet_body

# Three digits at most: a network of 100,000 layers takes hours to build, and fits nowhere. A
# family's names → what makes a body from the numbers in the name, and the name as the papers write
# it.
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


def _parse(name: str):
    """The family's body and title, and the numbers in the name."""
    for pattern, (make_body, title) in FAMILIES.items():
        if match := re.fullmatch(pattern, name):
            return make_body, title, [int(number) for number in match.groups()]
    raise ValueError(
        f"unknown model {name!r}: choose from {', '.join(EXAMPLES)}, or others of these families"
    )


def build_model(name: str, num_classes: int, head: Head, start: Start = "paper") -> Network:
    """A network by name.

    `densenetbc{depth}`, `resnet{depth}`, `wideresnet{depth}{width}` (two digits of depth),
    `resnet{depth}_imagenet` or `smallcnn`.

    Args:
        name: e.g. "densenetbc100", "resnet34", "wideresnet2810", or a smaller member such as
            "densenetbc40".
        num_classes: classes of the head.
        head: what makes the head from (num_features, num_classes), e.g.
            `losses.DisMaxLossFirstPart`.
        start: how the weights start, as in `Network`.

    Raises ValueError for an unknown name or one whose numbers do not make such a network.
    """
    make_body, _, numbers = _parse(name)
    body, num_features = make_body(*numbers)
    return Network(body, num_features, num_classes, head, start)


def model_title(name: str) -> str:
    """The name that tables print, as the papers write it."""
    _, title, numbers = _parse(name)
    return title.format(*numbers)


__all__ = ["EXAMPLES", "Head", "Network", "Start", "build_model", "model_title"]
