"""Heads, losses and scores compute in float32 or wider; only networks use half precision."""

from contextlib import nullcontext
from functools import reduce

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the same values in float32 or wider.

    Half precision becomes float32. float64 stays float64.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def in_one_precision(*tensors: Tensor) -> list[Tensor]:
    """Return the same values in the widest of the tensors' dtypes."""
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
    return [tensor.to(dtype) for tensor in tensors]


def without_autocast(tensor: Tensor):
    """Return a context without autocast for operations on the tensor's device."""
    kind = tensor.device.type
    # Not torch.amp.is_autocast_available, which torch.compile before PyTorch 2.12 cannot follow.
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()
