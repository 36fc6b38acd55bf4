"""The class of all networks: a body that makes a feature map, global average pooling, and a
head.
"""

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, Literal, cast

from torch import Tensor, nn

# Makes a head from (num_features, num_classes). The head turns features [B, D] into logits [B, C].
Head = Callable[[int, int], nn.Module]
Start = Literal["paper", "pytorch"]  # how a new network's weights are initialised


class Network(nn.Module):
    """A network from images [B, 3, H, W] of any size to logits [B, C], through features [B, D].

    Args:
        body: turns images into a feature map [B, num_features, h, w].
        num_features: D, the number of channels of the feature map.
        num_classes: number of classes of the head.
        head: makes the head, e.g. `losses.DisMaxLossFirstPart`. The head becomes `classifier`.
    """

    classifier: Any  # the module that `head` makes
    body: nn.Module
    has_layers = True  # whether `layer_maps` and `layer_features` work
    frozen = False  # whether training leaves the body as it is
    start_note = ""  # what a user should know of the weights that it started with
    began_with: str | None = None  # the fingerprint of these weights; None if they were random

    def __init__(self, body: nn.Module, num_features: int, num_classes: int, head: Head):
        super().__init__()
        self.num_features = num_features
        self.body = body
        self.classifier = head(num_features, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return features [B, D], the average over the whole feature map of any size."""
        return self.body(images).mean((2, 3))

    def layer_maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the feature maps [B, channels, h, w] of several layers, from first to last.

        First comes the map of the stem, then the last map of each resolution. The stem is the first
        convolution with the batch norm and ReLU that directly follow it. The last map is that of
        `forward_features`. No map is used twice. Later layers do not change a map in place.
        """
        layers = cast(nn.Sequential, self.body)
        in_stem = (isinstance(layer, nn.BatchNorm2d | nn.ReLU) for layer in layers[1:])
        stem_end = sum(takewhile(bool, in_stem))  # index of the last layer of the stem
        x = images
        for index, layer in enumerate(layers):
            previous = x
            x = layer(x)
            if index == stem_end:
                yield x
            # Right after the stem, `previous` is the map of the stem, which is already used.
            elif index > stem_end + 1 and x.shape[2:] != previous.shape[2:]:
                yield previous
        yield x

    def layer_features(self, images: Tensor) -> list[Tensor]:
        """Return features [B, channels] of several layers: the averages of `layer_maps`."""
        return [layer_map.mean((2, 3)) for layer_map in self.layer_maps(images)]

    def freeze_body(self) -> None:
        """Train the head alone from now on: the body keeps its weights and its batch statistics."""
        self.frozen = True
        self.body.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Network":
        """Set the mode, as `nn.Module.train` does. A frozen body stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the head's logits [B, C]."""
        return self.classifier(self.forward_features(images))


def initialise(network: Network, start: Start) -> None:
    """Give a new network its first weights.

    Args:
        network: whose head has just been made.
        start: "paper": convolutions from a Kaiming normal distribution (fan-out, ReLU); their
            biases as in PyTorch; batch norms with weight 1 and bias 0, except where the body sets a
            weight to 0; the head as its class does it. "pytorch": all layers as in PyTorch, and a
            linear head too.
    """
    for module in network.body.modules():
        if start == "paper" and isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if start == "pytorch" and isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.reset_parameters()
    # An `nn.Linear` is already initialised as in PyTorch, and has no such method.
    initialise_head = getattr(network.classifier, "start_as_pytorch", None)
    if start == "pytorch" and callable(initialise_head):
        initialise_head()
