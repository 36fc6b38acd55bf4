"""What every network is: a body that makes a feature map, global average pooling, and a head."""

from collections.abc import Callable

from torch import Tensor, nn

Head = Callable[[int, int], nn.Module]  # (num_features, num_classes) → features [B, D] to logits [B, C]


class Network(nn.Module):
    """Images [B, 3, H, W] of any size to logits [B, C], through features [B, num_features].

    Args:
        body: images to a feature map [B, num_features, h, w].
        num_features: the feature map's channels.
        num_classes: classes of the head.
        head: what makes the head, e.g. `losses.DisMaxLossFirstPart`; it becomes `classifier`.

    Convolutions start from Kaiming-normal (fan-out, ReLU) with zero biases, batch norms at 1 and 0.
    """

    def __init__(self, body: nn.Module, num_features: int, num_classes: int, head: Head):
        super().__init__()
        self.num_features = num_features
        self.body = body
        self.classifier = head(num_features, num_classes)
        for module in body.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """Features [B, num_features], averaged over the whole feature map whatever its size."""
        return self.body(images).mean((2, 3))

    def layer_features(self, images: Tensor) -> list[Tensor]:
        """Features [B, channels] of several depths, the last being `forward_features`: the last feature map of each resolution."""
        pooled, x = [], self.body[0](images)
        for layer in self.body[1:]:
            before, x = x, layer(x)
            if x.shape[2:] != before.shape[2:]:
                pooled.append(before.mean((2, 3)))
        return [*pooled, x.mean((2, 3))]

    def forward(self, images: Tensor) -> Tensor:
        """The head's logits [B, C]."""
        return self.classifier(self.forward_features(images))
