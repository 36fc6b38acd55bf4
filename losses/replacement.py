"""Puts a head in the place of a network's last linear layer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import TypeVar

from torch import nn

from .contract import LossFirstPart

Head = TypeVar("Head", bound=LossFirstPart)
SHOWN = 4  # names of layers in an error


def _last_layer(model: nn.Module) -> str:
    """The path of the last module with weights of its own, in the order in which they were
    registered; "" if none has.
    """
    last, linear = "", False
    for path, module in model.named_modules():
        if linear and path.startswith(f"{last}."):
            continue  # what parametrizes a linear layer's weight
        if (
            isinstance(module, nn.Linear)
            or next(module.parameters(recurse=False), None) is not None
        ):
            last, linear = path, isinstance(module, nn.Linear)
    return last


def _named(paths: list[str]) -> str:
    return ", ".join(["..."] * (len(paths) > SHOWN) + paths[-SHOWN:])


def _in_sequence(model: nn.Module, first: str, second: str) -> bool:
    """Whether two modules lie in one nn.Sequential, directly or deeper: it runs them in the order
    in which they were registered.
    """
    pairs = zip(first.split("."), second.split("."), strict=False)
    shared = [one for one, other in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return isinstance(model.get_submodule(".".join(shared)), nn.Sequential)


def _classifier(model: nn.Module, linear: dict[str, nn.Linear], num_classes: int | None) -> str:
    """Which of the linear layers is the network's last layer.

    Raises ValueError where that is not plain.
    """
    title, last = type(model).__name__, _last_layer(model)
    if last not in linear:
        ending = (
            f"the {type(model.get_submodule(last)).__name__} {last!r}"
            if last
            else "no layer with weights"
        )
        chosen = "choose an nn.Linear by name=, or " if linear else ""
        raise ValueError(
            f"{title} ends in {ending}, not in an nn.Linear: {chosen}put the head after its "
            "pooled features yourself"
        )
    alike = [
        path for path, module in linear.items() if module.out_features == linear[last].out_features
    ]
    if len(alike) > 1:
        raise ValueError(
            f"{title} has several nn.Linear that could be its classifier ({_named(alike)}): "
            "choose one by name=; "
            "if the network adds up their outputs, put the head after its pooled features yourself"
        )
    # Modules may be registered in another order than they run in.
    width = linear[last].out_features
    for path, module in linear.items():
        may_follow = module.in_features == width or module.out_features == num_classes
        if path != last and may_follow and not _in_sequence(model, path, last):
            raise ValueError(
                f"{title} registers the nn.Linear {last!r} last, but its outputs may pass through "
                f"{path!r} "
                f"(from {module.in_features} to {module.out_features}): choose the classifier by "
                "name="
            )
    return last


def replace_classifier(
    model: nn.Module,
    head: Callable[[int, int], Head],
    num_classes: int | None = None,
    name: str | None = None,
) -> Head:
    """Put a head in the place of the model's classifier, its last `nn.Linear`, and return it (for
    the criterion, and the scores).

        head = losses.replace_classifier(torchvision.models.resnet18(), losses.DisMaxLossFirstPart,
        num_classes=10) criterion = losses.DisMaxLossSecondPart(head)

    It takes as many features as the layer did, lies on its device in its precision, and has weights
    of its own.

    Args:
        model: any network, which is changed; its classifier gets features [B, D].
        head: what makes the head from (num_features, num_classes), e.g. a `...LossFirstPart`.
        num_classes: the head's; by default as many as the layer has outputs.
        name: the layer's, as in `model.named_modules()`, where the last one is not it.

    Raises ValueError where the last layer with weights is no linear one (a convolution, or the norm
    of a network without a classifier), where there is none of the name, or where another one has as
    many outputs as the last, so that either could be the classifier, or both, with their outputs
    added up. Such a network gives its pooled features to a head that stands after it. Modules may
    run in another order than they were registered in. So it also raises ValueError where the last
    linear layer may be
    an inner one: where another takes as many features as it gives, or already gives `num_classes`.
    """
    linear = {
        path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)
    }
    if name is None:
        name = _classifier(model, linear, num_classes)
    if name not in linear:
        raise ValueError(
            f"{type(model).__name__} has no nn.Linear {name!r}: it has "
            f"{_named(list(linear)) or 'none'}"
        )
    if not name:
        raise ValueError("the model is nothing but its nn.Linear: make the head itself")
    layer = linear[name]
    places = [
        path for path, module in model.named_modules(remove_duplicate=False) if module is layer
    ]
    if len(places) > 1:
        raise ValueError(
            f"{type(model).__name__} uses one nn.Linear in several places ({_named(places)}): put "
            "the head in by hand"
        )
    made = head(layer.in_features, layer.out_features if num_classes is None else num_classes)
    made = made.to(layer.weight.device, layer.weight.dtype)
    model.set_submodule(name, made)
    return made
