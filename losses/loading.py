"""Adapts state dicts to a head: those of `nn.Linear`, of the authors' heads, and of our others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .contract import LossFirstPart

UNCALIBRATED = {"temperature": 1.0, "thresholds": torch.nan}


def sign(head: LossFirstPart, state_dict: Any, prefix: str) -> None:
    """Add the head's class to the metadata of a state dict. PyTorch keeps it in files."""
    metadata = getattr(state_dict, "_metadata", {})
    metadata.get(prefix[:-1], {})["head"] = type(head).__name__


def adapt(
    head: LossFirstPart, state_dict: dict[str, Any], prefix: str, metadata: Mapping[str, Any]
) -> None:
    """Change the entries below a prefix of a state dict to those of a head, in place.

    The authors' heads have another shape for a single number, other names, and entries that we do
    not need. Weights that were not calibrated for this head, such as those of `nn.Linear` or of
    another head, get the temperature 1 and no thresholds. A dict without entries of the head does
    not change.
    """
    own = head.state_dict()
    for theirs, ours in head.authors_names.items():
        if prefix + theirs in state_dict and prefix + ours not in state_dict:
            state_dict[prefix + ours] = state_dict.pop(prefix + theirs)
    for name, shape in head.authors_extras.items():
        if prefix + name in state_dict and state_dict[prefix + name].shape == shape:
            del state_dict[prefix + name]
    if any(prefix + name in state_dict for name in own):
        other_head = metadata.get("head", type(head).__name__) != type(head).__name__
        for name, value in UNCALIBRATED.items():
            if other_head or prefix + name not in state_dict:
                state_dict[prefix + name] = torch.full_like(own[name], value)
    for name, value in own.items():
        loaded = state_dict.get(prefix + name)
        if value.numel() == 1 and loaded is not None and loaded.numel() == 1:
            state_dict[prefix + name] = loaded.reshape(value.shape)
