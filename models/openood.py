"""Weights of ResNets for small images under OpenOOD's names, and under ours.

Its ResNet-18 has the same 122 tensors as ours in the same order, under other names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from .network import Network
from .resnet import BLOCKS

# The layers of a block: our name → its name.
BLOCK = {"layers.0": "conv1", "layers.1": "bn1", "layers.3": "conv2", "layers.4": "bn2"}
COUNTER = "num_batches_tracked"  # of a batch norm; old files have none


def is_linear(head: nn.Module) -> bool:
    """Return whether the logits of a head are those of an `nn.Linear`."""
    return bool(getattr(head, "is_linear", isinstance(head, nn.Linear)))


def by_order(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, str]:
    """Return our name → theirs for tensors that have other names but the same order.

    The first tensors of `theirs` are taken, one for each of `own`. Each must have the same shape,
    and a name with the same last part, such as `running_mean`. Two tensors that are alike in both
    and changed places are not noticed.

    Args:
        own: a state dict.
        theirs: a state dict; batch norms may lack their counter.

    Raises ValueError for the first pair that differs, or if there are too few.
    """
    if not any(name.endswith(COUNTER) for name in theirs):
        own = {name: tensor for name, tensor in own.items() if not name.endswith(COUNTER)}
    pairs = list(zip(own.items(), theirs.items(), strict=False))
    for number, ((name, tensor), (their_name, their_tensor)) in enumerate(pairs, 1):
        same_part = name.rpartition(".")[2] == their_name.rpartition(".")[2]
        if not same_part or tensor.shape != their_tensor.shape:
            raise ValueError(
                f"tensor {number} is {their_name} {list(their_tensor.shape)} there, {name} "
                f"{list(tensor.shape)} here"
            )
    if len(pairs) < len(own):
        raise ValueError(f"there are {len(theirs)} tensors, {len(own)} are needed")
    return {name: their_name for (name, _), (their_name, _) in pairs}


def load_openood(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Load a checkpoint of OpenOOD into a network with a linear head, head included.

    Args:
        network: e.g. `build_model("resnet18", 10, SoftMaxLossFirstPart)`.
        weights: the checkpoint, a state dict with all tensors in its order.

    Raises ValueError if the head is not linear, or as `by_order` for weights of another network.
    """
    own = _state(network)
    names = by_order(own, weights)
    if len(weights) > len(names):
        extra = list(weights)[len(names) :]
        raise ValueError(f"{len(extra)} tensors are left over, such as {extra[0]}")
    # Counters may be missing. The head forgets its temperature and thresholds.
    network.load_state_dict({name: weights[theirs] for name, theirs in names.items()}, strict=False)


def to_openood(network: Network) -> dict[str, Tensor]:
    """Return the weights of a ResNet for small images with a linear head under OpenOOD's names.

    The logits of a network that loads them are ours at temperature 1. Raises ValueError for another
    network or head.
    """
    blocks = len(cast(nn.Sequential, network.body)) - 3  # the stem has three layers
    depth = next((depth for depth, count in BLOCKS.items() if sum(count) == blocks), None)
    state = _state(network)
    if depth is None or "body.3.layers.0.weight" not in state:
        raise ValueError("OpenOOD's names are for ResNets of 10, 18 or 34 layers for small images")
    prefixes = {"body.0.": "conv1.", "body.1.": "bn1.", "classifier.": "fc."}
    index = 3
    for stage, count in enumerate(BLOCKS[depth], 1):
        for block in range(count):
            theirs = f"layer{stage}.{block}."
            prefixes |= {f"body.{index}.{our}.": f"{theirs}{its}." for our, its in BLOCK.items()}
            prefixes[f"body.{index}.shortcut."] = f"{theirs}shortcut."
            index += 1
    renamed = {}
    for name, tensor in state.items():
        ours = next(prefix for prefix in prefixes if name.startswith(prefix))
        renamed[prefixes[ours] + name.removeprefix(ours)] = tensor
    return renamed


def _state(network: Network) -> dict[str, Tensor]:
    """Return the state of the body and of a linear head, without temperature and thresholds."""
    if not is_linear(network.classifier):
        raise ValueError(
            f"OpenOOD's networks end with a linear layer, this one with "
            f"{type(network.classifier).__name__}: take the SoftMax head"
        )
    state = {
        name: tensor for name, tensor in network.state_dict().items() if name.startswith("body.")
    }
    for name in ("weight", "bias"):
        state[f"classifier.{name}"] = getattr(network.classifier, name)
    return state
