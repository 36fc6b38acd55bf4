"""What heads sum over a batch, where several processes share it (torch.distributed)."""

import torch.distributed as dist
from torch import Tensor


def summed_over_processes(value: Tensor) -> Tensor:
    """The sum over the processes that train together; in one process, the value itself.

    Collective.
    """
    if dist.is_available() and dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
    return value
