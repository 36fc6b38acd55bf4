"""Puts a head in the place of a network's last linear layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from .contract import LossFirstPart

Head = TypeVar("Head", bound=LossFirstPart)


def replace_classifier(
    model: nn.Module, head: Callable[[int, int], Head], num_classes: int | None = None, name: str | None = None
) -> Head:
    """Put a head in the place of the model's classifier, its last `nn.Linear`, and return it (for the criterion, and the scores).

        head = losses.replace_classifier(torchvision.models.resnet18(), losses.DisMaxLossFirstPart, num_classes=10)
        criterion = losses.DisMaxLossSecondPart(head)

    It takes as many features as the layer did, lies on its device in its precision, and has weights of its own.

    Args:
        model: any network, which is changed; its classifier gets features [B, D].
        head: what makes the head from (num_features, num_classes), e.g. a `...LossFirstPart`.
        num_classes: the head's; by default as many as the layer has outputs.
        name: the layer's, as in `model.named_modules()`, where the last one is not it.

    Raises ValueError where there is no linear layer, or none of the name, or another one has as many outputs as the last, so that
    either could be the classifier.
    """
    linear = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    title = type(model).__name__
    if not linear:
        raise ValueError(f"{title} has no nn.Linear to replace: give it one after its pooling, or put the head there yourself")
    if name is None:
        name = list(linear)[-1]
        alike = [path for path, module in linear.items() if module.out_features == linear[name].out_features]
        if len(alike) > 1:
            raise ValueError(
                f"{title} has several nn.Linear that could be its classifier ({', '.join(alike)}): choose one by name="
            )
    if name not in linear:
        raise ValueError(f"{title} has no nn.Linear {name!r}: it has {', '.join(linear)}")
    if not name:
        raise ValueError("the model is nothing but its nn.Linear: make the head itself")
    layer = linear[name]
    made = head(layer.in_features, num_classes or layer.out_features).to(layer.weight.device, layer.weight.dtype)
    model.set_submodule(name, made)
    return made
