"""What every network is: a body that makes a feature map, global average pooling, and a head."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any, Literal

from torch import Tensor, nn

# (num_features, num_classes) → features [B, D] to logits [B, C].
Head = Callable[[int, int], nn.Module]
Start = Literal["paper", "pytorch"]  # how a new network's weights are drawn


class Network(nn.Module):
    """Images [B, 3, H, W] of any size to logits [B, C], through features [B, num_features].

    Args:
        body: images to a feature map [B, num_features, h, w].
        num_features: the feature map's channels.
        num_classes: classes of the head.
        head: what makes the head, e.g. `losses.DisMaxLossFirstPart`; it becomes `classifier`.
        start: how the weights start. "paper": convolutions from Kaiming-normal (fan-out, ReLU),
            their biases as PyTorch's do, batch norms at 1 and 0 but where the body sets a weight to
            0, the head as its class says. "pytorch": everything as PyTorch's own layers start, a
            linear head too.
    """

    classifier: Any  # the module that `head` makes

    def __init__(
        self,
        body: nn.Sequential,
        num_features: int,
        num_classes: int,
        head: Head,
        start: Start = "paper",
    ):
        super().__init__()
        self.num_features = num_features
        self.body = body
        self.classifier = head(num_features, num_classes)
        for module in body.modules():
            if start == "paper" and isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if start == "pytorch" and isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                module.reset_parameters()
        # An `nn.Linear` starts so already.
        again = getattr(self.classifier, "start_as_pytorch", None)
        if start == "pytorch" and callable(again):
            again()

    def forward_features(self, images: Tensor) -> Tensor:
        """Features [B, num_features], averaged over the whole feature map whatever its size."""
        return self.body(images).mean((2, 3))

    def layer_features(self, images: Tensor) -> list[Tensor]:
        """Features [B, channels] of several layers, from first to last: the means of feature maps.

        The first map is the stem's. The stem is the first convolution with the batch norm and ReLU
        that directly follow it. The others are the last map of each resolution. The last of all
        gives `forward_features`. No map is there twice.
        """
        follows = (isinstance(layer, nn.BatchNorm2d | nn.ReLU) for layer in self.body[1:])
        stem = sum(takewhile(bool, follows))  # the place of its last layer
        pooled, x = [], images
        for place, layer in enumerate(self.body):
            before, x = x, layer(x)
            if place == stem:
                pooled.append(x.mean((2, 3)))
            # Of the layer right after the stem, `before` is the stem's map, which is there already.
            elif place > stem + 1 and x.shape[2:] != before.shape[2:]:
                pooled.append(before.mean((2, 3)))
        return [*pooled, x.mean((2, 3))]

    def forward(self, images: Tensor) -> Tensor:
        """The head's logits [B, C]."""
        return self.classifier(self.forward_features(images))
