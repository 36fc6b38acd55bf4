"""Splits a network from its head for a detector, and checks that the network returns the head's
output.
"""

from __future__ import annotations

import copy
from functools import partial
from inspect import getclosurevars
from itertools import chain
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from .losses import LossFirstPart
from .losses.common import at_least_float32


class _HeadProxy(nn.Module):
    """Takes the head's place in a network.

    It returns the head's logits. The head's named outputs and its features are attributes of that
    tensor. If the network changes the logits, it returns another tensor, which lacks the
    attributes. So a tensor with the attributes is the head's output. They are attributes of the
    tensor and not of the module, because several threads may share one detector.
    """

    head: LossFirstPart

    def __init__(self, head: LossFirstPart):
        super().__init__()
        self.__dict__["head"] = head  # no submodule: the head belongs to the detector

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["head"], name)  # a network may ask for its head's precision

    def forward(self, features: Tensor) -> Tensor:
        outputs = {
            **self.head.named_outputs(features),
            "features": at_least_float32(features),
        }
        logits = outputs["logits"] / self.head.temperature
        # The type checker does not know that a tensor may have attributes of one's own.
        # torch.compile knows neither inference mode nor a tensor's version.
        if torch.compiler.is_dynamo_compiling():
            logits._unchanged = logits.clone()  # pyrefly: ignore
        elif torch.is_inference_mode_enabled():
            with torch.inference_mode(False):
                logits = logits.clone()  # tensors made in inference mode have no version
        logits._outputs = outputs  # pyrefly: ignore
        logits._changes = logits._version  # pyrefly: ignore
        return logits


def _unwrap(network: nn.Module) -> nn.Module:
    """Return a network without torch.compile's or DataParallel's wrappers around it."""
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = network.module
        else:
            inner = getattr(network, "_orig_mod", None)  # of torch.compile
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def _unwrap_submodules(network: nn.Module) -> None:
    """Remove these wrappers from all submodules of a network, in place."""
    for name, module in network.named_children():
        unwrapped = _unwrap(module)
        if unwrapped is not module:
            setattr(network, name, unwrapped)
        _unwrap_submodules(unwrapped)


def find_head(network: nn.Module) -> LossFirstPart:
    """Return a network's head.

    Raises ValueError if it has none or several, if the head has hooks or a forward of its own, or
    if the head's temperature is not finite and above 0.
    """
    title = type(network).__name__
    heads = [module for module in network.modules() if isinstance(module, LossFirstPart)]
    if heads == [network]:
        raise ValueError(
            f"a detector needs a whole network; {title} is its head alone (for features that are "
            "computed already: nn.Sequential(nn.Identity(), head))"
        )
    if len(heads) != 1:
        raise ValueError(
            f"a network with one head of dismax.losses is needed, {title} has {len(heads)}"
            + ("" if heads else ": dismax.replace_classifier gives it one")
        )
    head = heads[0]
    if (
        head._forward_hooks
        or head._forward_pre_hooks
        or getattr(head.forward, "__func__", None) is not LossFirstPart.forward
    ):
        raise ValueError(
            f"the head of {title} has forward hooks or a forward of its own, which no detector "
            "runs: remove them"
        )
    if not 0 < head.temperature.item() < float("inf"):
        raise ValueError(
            f"a head's temperature is finite and above 0, that of {title} is "
            f"{head.temperature.item():.4g}"
        )
    return head


def plain_copy(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode, without any of these wrappers.

    Raises ValueError for a network that is a detector's, or that cannot be copied.
    """
    network = _unwrap(network)
    title = type(network).__name__
    if any(isinstance(module, _HeadProxy) for module in network.modules()):
        raise ValueError(f"{title} is a detector already: give the network that it was made of")
    try:
        plain = copy.deepcopy(network)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{title} cannot be copied ({reason}). If it has the old spectral_norm or weight_norm, "
            "is pruned, or keeps a tensor, run it once under torch.no_grad() before"
        ) from error
    plain.eval()
    _unwrap_submodules(plain)
    own = {*plain.modules()}
    for path, module in plain.named_modules():
        if not _modules_in(vars(module).get("forward")) <= own:
            raise ValueError(
                f"the forward of {path or title} was replaced by a function, which a copy of the "
                "network cannot have: for torch.compile, call module.compile() instead of setting "
                "module.forward; for anything else, make a subclass"
            )
    return plain


def _modules_in(value: object, seen: frozenset[int] = frozenset()) -> set[nn.Module]:
    """Return the modules that a function runs, as far as its parts show them: what it is bound to,
    what a partial has, and what a closure has. `seen` are the ids of what it is a part of.
    """
    if isinstance(value, nn.Module):
        return {value}
    parts: list[object] = []
    if isinstance(value, partial):
        parts = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, MethodType):
        parts = [value.__self__, value.__func__]
    elif isinstance(value, FunctionType) and id(value) not in seen:
        parts = [*getclosurevars(value).nonlocals.values()]
    inside = seen | {id(value)}
    return {module for part in parts for module in _modules_in(part, inside)}


def take_apart(network: nn.Module) -> tuple[nn.Module, LossFirstPart]:
    """Copy a network, and split the copy from its head.

    Returns:
        the copy in evaluation mode, for `named_outputs`, and its head, which is no longer a
        submodule of it.

    Raises ValueError for a network that has no head of dismax.losses, or several.
    """
    body = plain_copy(network)
    head = find_head(body)
    for path, module in list(body.named_modules(remove_duplicate=False)):
        if module is head:
            body.set_submodule(path, _HeadProxy(head))
    return body, head


def _standardises(body: nn.Module, inputs: Tensor) -> bool:
    """Return whether a network may standardise inputs of float64 before it converts them."""
    numbers = chain(body.parameters(), body.buffers())
    return inputs.dtype == torch.float64 and any(each.dtype == torch.float64 for each in numbers)


def named_outputs(body: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return the head's named outputs and its "features" [B, D] for a network's inputs.

    Args:
        body: the copy of a network that `take_apart` returns.
        inputs: a normalised batch [B, C, H, W]. Floats are converted to the network's precision,
            unless they and numbers of the network are float64: such a network converts them itself.
            Whole numbers are not, so that a network for floats refuses pixels of uint8.

    Raises ValueError if the network's output is not the head's.
    """
    if inputs.is_floating_point() and not _standardises(body, inputs):
        weights = (weight.dtype for weight in body.parameters() if weight.is_floating_point())
        inputs = inputs.to(next(weights, inputs.dtype))
    returned = body(inputs)
    outputs = getattr(returned, "_outputs", None)
    compiling = torch.compiler.is_dynamo_compiling()
    if outputs is None or (not compiling and returned._version != returned._changes):
        is_tensor = isinstance(returned, Tensor)
        kind = "something else" if is_tensor else f"a {type(returned).__name__}"
        raise ValueError(
            "a detector needs a network that returns the output of its head, "
            f"{type(body).__name__} returns {kind}: end its forward with the head, and keep the "
            "head in an attribute or an nn.ModuleList, not in a plain list"
        )
    # len() would make the batch size of an exported graph a constant.
    if returned.shape[0] != inputs.shape[0]:
        raise ValueError(
            f"the head of {type(body).__name__} gives {returned.shape[0]} answers for "
            f"{inputs.shape[0]} images"
        )
    if compiling:
        # Changed logits become NaN, since a compiled graph cannot raise an error here.
        unchanged = returned == returned._unchanged
        return outputs | {"logits": outputs["logits"].where(unchanged, torch.nan)}
    return outputs
