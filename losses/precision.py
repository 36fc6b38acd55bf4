"""Half precision is for the networks: heads, losses and scores compute in float32 or wider."""

from contextlib import nullcontext
from functools import reduce

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The same values in float32 or wider: half precision is raised to float32, float64 stays
    float64.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def in_one_precision(*tensors: Tensor) -> list[Tensor]:
    """The same values in the widest of their dtypes."""
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
    return [tensor.to(dtype) for tensor in tensors]


def without_autocast(tensor: Tensor):
    """A context in which autocast does not lower the precision of operations on the tensor's
    device.
    """
    kind = tensor.device.type
    # Not torch.amp.is_autocast_available: torch.compile cannot follow it before PyTorch 2.12.
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()
