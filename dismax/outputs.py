"""Runs a network over a loader, and keeps its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from .body import named_outputs, take_apart
from .detectors import SetOutputs
from .losses import LossFirstPart


@torch.no_grad()
def outputs_of(
    network: nn.Module, loader: Iterable[Any], most: int | None = None
) -> tuple[SetOutputs, LossFirstPart]:
    """Return the head's named outputs, the features and the labels of a loader's images.

    A copy of the network runs in evaluation mode on the network's device. So the network's own mode
    and buffers stay as they are. Everything returned is on the CPU, in float32 or wider.

    Args:
        network: ends with a head of `dismax.losses`.
        loader: gives (inputs, labels), and is read once.
        most: keep at most so many images: a random sample, the same one each time. The network does
            not see the others.

    Returns:
        the outputs, and a copy of the head.

    Raises ValueError for a network without such a head, for batches of another kind, and for a
    loader without images.
    """
    body, head = take_apart(network)
    tensors = chain(body.parameters(), head.buffers())
    device = next(tensors).device
    generator = torch.Generator("cpu").manual_seed(0)
    parts: list[dict[str, Tensor]] = []
    bound, count = 1.0, 0
    for inputs, labels in _pairs(loader, head.num_classes):
        # Each image gets a random number, and those with the lowest numbers are kept. A loader may
        # be sorted by class, so its first images will not do.
        numbers = torch.rand(len(labels), generator=generator, dtype=torch.float64, device="cpu")
        chosen = numbers < bound
        if not chosen.any():
            continue
        found = named_outputs(body, inputs[chosen.to(inputs.device)].to(device))
        part = {name: value.cpu() for name, value in found.items()}
        parts.append(part | {"labels": labels.cpu()[chosen], "numbers": numbers[chosen]})
        count += len(parts[-1]["labels"])
        if most and count > 1.25 * most:
            parts, count = [_lowest(parts, most)], most
            bound = parts[0]["numbers"].max().item()
    if not parts:
        raise ValueError("the loader has no images: give one that yields (inputs, labels)")
    outputs = _lowest(parts, most or count)
    del outputs["numbers"]
    return SetOutputs(outputs, labels=outputs.pop("labels")), head.cpu()


def _lowest(parts: list[dict[str, Tensor]], most: int) -> dict[str, Tensor]:
    """Return the outputs of the images with the lowest numbers, in their order."""
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if len(joined["numbers"]) <= most:
        return joined
    positions = joined["numbers"].argsort()[:most].sort().values
    return {name: value[positions] for name, value in joined.items()}


def _pairs(loader: Iterable[Any], num_classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the inputs and labels of a loader's batches.

    Raises ValueError for a batch that is no tuple or list which begins with these two, and for a
    label that is no class.
    """
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            raise ValueError(
                f"a loader gives (inputs, labels), got a {type(batch).__name__}: make such pairs "
                'of it, as in ((batch["image"], batch["label"]) for batch in loader)'
            )
        inputs, labels = batch[:2]
        if (
            not isinstance(inputs, Tensor)
            or not isinstance(labels, Tensor)
            or labels.is_floating_point()
            or labels.dtype == torch.bool
            or labels.shape != inputs.shape[:1]
        ):
            raise ValueError(
                "a loader gives tensors of inputs [B, ...] and of class numbers [B], got "
                f"{_kind(inputs)} and {_kind(labels)}"
            )
        classes = labels.long()  # PyTorch has no minimum of uint16
        if len(classes) and not 0 <= classes.min() <= classes.max() < num_classes:
            raise ValueError(
                f"labels are classes, integers in 0 to {num_classes - 1}, got {int(classes.min())} "
                f"to {int(classes.max())}"
            )
        yield inputs, classes


def _kind(value: Any) -> str:
    """Return a value's type and shape for an error message."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"a {type(value).__name__}"
