"""Takes a network and its head apart for a detector, and checks that the network's output is the
head's.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .losses import LossFirstPart


class _InHeadsPlace(nn.Module):
    """Returns the head's logits, with the head's named outputs as attributes of that tensor.

    If the network changes the logits, it returns another tensor, which lacks these attributes. So
    they prove that its output is the head's. They are kept on the tensor and not in the module
    because several threads may share one detector.
    """

    def __init__(self, head: LossFirstPart):
        super().__init__()
        self.__dict__["head"] = head  # not as a submodule: the head belongs to the detector

    def forward(self, features: Tensor) -> Tensor:
        outputs = self.head.named_outputs(features)
        logits = outputs["logits"] / self.head.temperature
        # It knows neither inference mode nor a tensor's version.
        if torch.compiler.is_dynamo_compiling():
            logits._unchanged = logits.clone()
        elif torch.is_inference_mode_enabled():
            with torch.inference_mode(False):
                logits = logits.clone()  # tensors made in inference mode have no version
        logits._outputs, logits._changes = outputs, logits._version
        return logits


def _unwrapped(network: nn.Module) -> nn.Module:
    """A network without the wrappers of torch.compile, DataParallel and DistributedDataParallel."""
    while isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel) or hasattr(
        network, "_orig_mod"
    ):
        network = network._orig_mod if hasattr(network, "_orig_mod") else network.module
    return network


def _unwrap_parts(network: nn.Module) -> None:
    """Removes these wrappers from all parts of a network, in place."""
    for name, part in network.named_children():
        bare = _unwrapped(part)
        if bare is not part:
            setattr(network, name, bare)
        _unwrap_parts(bare)


def _head_of(network: nn.Module) -> LossFirstPart:
    """A network's one head.

    Raises ValueError if there is none or several, or if it has hooks or a forward of its own.
    """
    title, heads = (
        type(network).__name__,
        [module for module in network.modules() if isinstance(module, LossFirstPart)],
    )
    if heads == [network]:
        raise ValueError(
            f"a detector needs a whole network, which takes images; {title} is its head alone"
        )
    if len(heads) != 1:
        raise ValueError(
            f"a detector needs a network with one head of dismax.losses, {title} has {len(heads)}"
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


def take_apart(network: nn.Module) -> tuple[nn.Module, LossFirstPart]:
    """A network's copy in evaluation mode, for `named_outputs`, and its head, which is no part of
    the copy.

    Raises ValueError for a network with no head of dismax.losses or several.
    """
    body = copy.deepcopy(_unwrapped(network)).eval()
    _unwrap_parts(body)
    head = _head_of(body)
    for path, module in list(body.named_modules(remove_duplicate=False)):
        if module is head:
            body.set_submodule(path, _InHeadsPlace(head))
    return body, head


def named_outputs(body: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """The head's named outputs for a network's inputs. The inputs are converted to the network's
    precision.

    Raises ValueError if the network's output is not the head's.
    """
    precision = next(
        (weight.dtype for weight in body.parameters() if weight.is_floating_point()), inputs.dtype
    )
    returned = body(inputs.to(precision))
    outputs = getattr(returned, "_outputs", None)
    followed = torch.compiler.is_dynamo_compiling()
    if outputs is None or (not followed and returned._version != returned._changes):
        found = (
            "something computed from it or beside it"
            if isinstance(returned, Tensor)
            else f"a {type(returned).__name__}"
        )
        raise ValueError(
            "a detector needs a network that returns the output of its head, "
            f"{type(body).__name__} returns {found}: "
            "end its forward with the head"
        )
    # Not len(), which would fix the batch size of an exported graph.
    if returned.shape[0] != inputs.shape[0]:
        raise ValueError(
            f"the head of {type(body).__name__} gives {returned.shape[0]} answers for "
            f"{inputs.shape[0]} images"
        )
    if followed:
        return outputs | {
            "logits": outputs["logits"].where(returned == returned._unchanged, torch.nan)
        }
    return outputs
