"""What several losses compute from a batch: one-hot targets, and sums over all processes."""

import torch
import torch.distributed as dist
from torch import Tensor


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
