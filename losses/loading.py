"""Adapts state dicts to a head: those of `nn.Linear`, of the authors' heads, and of our others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from .common import at_least_float32

if TYPE_CHECKING:
    from .contract import LossFirstPart

# The buffers of a calibration → their values before it.
UNCALIBRATED = {"temperature": 1.0, "thresholds": torch.nan}


def kind(head: LossFirstPart) -> str:
    """Return the names of the methods that compute a head's outputs.

    A head with the same ones can have the calibration of the other. The class is not asked, since
    PyTorch changes it at run time, for parametrizations and FSDP.
    """
    return f"{type(head).raw_outputs.__qualname__}, {type(head).raw_logits.__qualname__}"


def sign(head: LossFirstPart, state_dict: Any, prefix: str) -> None:
    """Add the head's kind to the metadata of a state dict. PyTorch keeps it in files."""
    metadata = getattr(state_dict, "_metadata", {})
    metadata.get(prefix[:-1], {})["head"] = kind(head)


def adapt(
    head: LossFirstPart, state_dict: dict[str, Any], prefix: str, metadata: Mapping[str, Any]
) -> None:
    """Change the entries below a prefix of a state dict to those of a head, in place.

    The authors' heads have another shape for a single number, other names, and entries that we do
    not need. Weights that were not calibrated for this head, such as those of `nn.Linear` or of
    another head, get the temperature 1 and no thresholds. A dict without weights of the head does
    not change its calibration.
    """
    own = head.state_dict()
    for theirs, ours in head.authors_names.items():
        if prefix + theirs in state_dict and prefix + ours not in state_dict:
            state_dict[prefix + ours] = state_dict.pop(prefix + theirs)
    for name, shape in head.authors_extras.items():
        if prefix + name in state_dict and state_dict[prefix + name].shape == shape:
            del state_dict[prefix + name]
    weights = [prefix + name for name in own if name not in UNCALIBRATED]
    if loaded := [state_dict[name] for name in weights if name in state_dict]:
        other_head = metadata.get("head", kind(head)) != kind(head)
        for name, value in UNCALIBRATED.items():
            if other_head or prefix + name not in state_dict:
                state_dict[prefix + name] = torch.full_like(
                    own[name], value, device=loaded[0].device
                )
    for name, value in own.items():
        if (entry := state_dict.get(prefix + name)) is None:
            continue
        if name in UNCALIBRATED:
            entry = at_least_float32(entry)
        if value.numel() == 1 and entry.numel() == 1:
            entry = entry.reshape(value.shape)
        state_dict[prefix + name] = entry
