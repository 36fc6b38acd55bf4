"""Replaces the last linear layer of a network with a head."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import TypeVar

import torch
from torch import nn

from .contract import LossFirstPart
from .softmax import SoftMaxLossFirstPart

Head = TypeVar("Head", bound=LossFirstPart)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
MAX_NAMES = 4  # names of layers in an error message


def _last_layer(model: nn.Module) -> str:
    """Return the path of the last registered module with weights of its own, or "" if there is
    none.
    """
    last, last_is_linear = "", False
    for path, module in model.named_modules():
        if last_is_linear and path.startswith(f"{last}."):
            continue  # a parametrization of the linear layer's weight
        is_linear = isinstance(module, nn.Linear)
        if is_linear or next(module.parameters(recurse=False), None) is not None:
            last, last_is_linear = path, is_linear
    return last


def _list_names(paths: list[str]) -> str:
    """Return the last few names for an error message."""
    names = ", ".join(paths[-MAX_NAMES:])
    return f"..., {names}" if len(paths) > MAX_NAMES else names


def _in_sequence(model: nn.Module, first: str, second: str) -> bool:
    """Return whether the smallest module that contains both modules is an nn.Sequential.

    An nn.Sequential runs its modules in the order in which they were registered.
    """
    pairs = zip(first.split("."), second.split("."), strict=False)
    shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return isinstance(model.get_submodule(".".join(shared)), nn.Sequential)


def _find_classifier(
    model: nn.Module, linear: dict[str, nn.Linear], num_classes: int | None
) -> str:
    """Return the path of the linear layer that is the network's last layer.

    Raises ValueError if this is not clear.
    """
    title = type(model).__name__
    if heads := [
        path for path, module in model.named_modules() if isinstance(module, LossFirstPart)
    ]:
        where = repr(heads[0]) if heads[0] else "itself"
        raise ValueError(f"{title} has a head already, {where}: make the network anew")
    last = _last_layer(model)
    if last not in linear:
        ending = (
            f"the {type(model.get_submodule(last)).__name__} {last!r}"
            if last
            else "no layer with weights"
        )
        advice = "choose an nn.Linear by name=, or " if linear else ""
        raise ValueError(
            f"{title} ends in {ending}, not in an nn.Linear: {advice}put the head after its "
            "pooled features yourself"
        )
    width = linear[last].out_features
    candidates = [path for path, module in linear.items() if module.out_features == width]
    if len(candidates) > 1:
        raise ValueError(
            f"{title} has several nn.Linear that could be its classifier "
            f"({_list_names(candidates)}): "
            "choose one by name=; "
            "if the network adds up their outputs, put the head after its pooled features yourself"
        )
    # Modules may run in another order than they were registered in.
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


@torch.no_grad()
def _is_plain(layer: nn.Linear) -> bool:
    """Return whether a layer computes what an nn.Linear of its weights and bias does."""
    if getattr(layer.forward, "__func__", None) is nn.Linear.forward or layer.weight.is_meta:
        return True
    generator = torch.Generator("cpu").manual_seed(0)
    inputs = torch.randn(4, layer.in_features, generator=generator, device="cpu").to(layer.weight)
    expected = nn.functional.linear(inputs, layer.weight, layer.bias)
    mode = layer.training
    try:
        found = layer.eval()(inputs)
    except Exception:  # it takes more than features
        return False
    finally:
        layer.train(mode)
    rounding = 10 * torch.finfo(expected.dtype).eps * expected.abs().max().item()
    return found.shape == expected.shape and found.allclose(expected, rtol=0, atol=rounding)


def _is_trained(layer: nn.Linear, name: str) -> bool:
    """Return whether a layer's weight or bias is trained, itself or by its parametrization."""
    if isinstance(parameter := layer._parameters.get(name), nn.Parameter):
        return parameter.requires_grad
    return any(parameter.requires_grad for parameter in layer.parameters())


def _take_weights(head: SoftMaxLossFirstPart, layer: nn.Linear) -> None:
    """Copy a layer's weights and bias into a head, with whether they are trained.

    A layer without a bias leaves it at 0.
    """
    with torch.no_grad():
        head.weight.copy_(layer.weight)
        if layer.bias is not None:
            head.bias.copy_(layer.bias)
    head.weight.requires_grad_(_is_trained(layer, "weight"))
    if layer.bias is not None:
        head.bias.requires_grad_(_is_trained(layer, "bias"))


def replace_classifier(
    model: nn.Module,
    head: Callable[[int, int], Head],
    num_classes: int | None = None,
    name: str | None = None,
) -> Head:
    """Replace the model's classifier, its last `nn.Linear`, with a head, and return the head.

        network = torchvision.models.resnet18()
        head = losses.replace_classifier(network, losses.DisMaxLossFirstPart, num_classes=10)
        criterion = losses.DisMaxLossSecondPart(head)

    The head takes as many features as the layer. It is on the same device, in the same precision
    and in the same mode. The criterion and the scores need it.

    A `SoftMaxLossFirstPart` with as many classes as the layer keeps the layer's weights and bias,
    so that a trained network returns the same logits. For new weights, call the layer's
    `reset_parameters()` before. Every other head has new weights.

    Args:
        model: any network whose classifier gets features [B, D]. It is changed in place.
        head: makes the head from (num_features, num_classes), e.g. a `...LossFirstPart`.
        num_classes: the head's number of classes; by default the layer's number of outputs.
        name: the layer's name in `model.named_modules()`, if it is not the last one.

    Raises:
        ValueError: if no linear layer has this name, if the layer is the whole model, if it has
            hooks, or if the model uses it in several places. Also if the head would keep the
            weights of a layer that computes more than f·Wᵀ + b, such as one with LoRA. Without a
            name, also in these three cases. First, the last layer with weights is not linear: it is
            a convolution, or the norm of a network without a classifier. Second, another linear
            layer has as many outputs as the last one. Either could be the classifier, or the
            network adds up the outputs of both. In such a network, put a head after the pooled
            features. Third, another linear layer may run after the last one, since modules may run
            in another order than they were registered in. Such a layer has as many inputs as the
            last one has outputs, or it has `num_classes` outputs.
    """
    linear = {
        path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)
    }
    if name is None:
        name = _find_classifier(model, linear, num_classes)
    if name not in linear:
        raise ValueError(
            f"{type(model).__name__} has no nn.Linear {name!r}: it has "
            f"{_list_names(list(linear)) or 'none'}"
        )
    if not name:
        raise ValueError("the model is nothing but its nn.Linear: make the head itself")
    layer = linear[name]
    paths = [
        path for path, module in model.named_modules(remove_duplicate=False) if module is layer
    ]
    if len(paths) > 1:
        raise ValueError(
            f"{type(model).__name__} uses one nn.Linear in several places ({_list_names(paths)}): "
            "put the head in by hand"
        )
    if any(getattr(layer, kind) for kind in HOOKS):
        raise ValueError(
            f"{name!r} has hooks, which the head would not have: remove them (those of the old "
            "weight_norm and spectral_norm by torch.nn.utils.remove_weight_norm and "
            "remove_spectral_norm)"
        )
    new_head = head(layer.in_features, layer.out_features if num_classes is None else num_classes)
    new_head = new_head.to(layer.weight.device, layer.weight.dtype).train(layer.training)
    if isinstance(new_head, SoftMaxLossFirstPart) and new_head.num_classes == layer.out_features:
        if not _is_plain(layer):
            raise ValueError(
                f"{name!r} is a {type(layer).__name__} with a forward of its own, so a head with "
                "its weights would give other logits: merge what it adds into an nn.Linear first"
            )
        _take_weights(new_head, layer)
    model.set_submodule(name, new_head)
    return new_head
