"""What several losses share: precision, one-hot targets, sums over processes, and checks of what
PyTorch does with a computation.

Heads, losses and scores compute in float32 or wider; only networks use half precision.
"""

from contextlib import nullcontext
from functools import reduce

import torch
import torch.distributed as dist
from torch import Tensor

# PyTorch 2.6 has no torch.compiler.is_exporting.
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


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


def one_hot(targets: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Return one-hot rows [B, C] for class indices [B].

    Unlike torch's `one_hot`, it does not wait for the device. Unlike a comparison with all classes,
    it fails for an index that is not a class.
    """
    return torch.zeros(len(targets), num_classes, dtype=dtype, device=targets.device).scatter_(
        1, targets[:, None].long(), 1.0
    )


def sum_over_processes(value: Tensor) -> Tensor:
    """Return the sum over the processes that train together (torch.distributed).

    In a single process it is the value itself. All processes must call it.
    """
    if dist.is_available() and dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
    return value


def in_torch_func() -> bool:
    """Return whether a transform of torch.func (vmap, grad, jvp, ...) is active.

    Our `autograd.Function`s do not have the rules that it needs.
    """
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def being_recorded() -> bool:
    """Return whether torch.jit.trace or torch.export is active.

    They ignore gradients that are written by hand.
    """
    return _exporting() or torch.jit.is_tracing()


def in_backward() -> bool:
    """Return whether a backward pass is running.

    A forward pass inside it belongs to activation checkpointing, which repeats the same batch.
    """
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0
