"""One run in several processes, which torchrun starts, and the communication between them.

Without torchrun there is one process, and a collective function returns its own argument.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from . import interruption, torchrun


@dataclass(frozen=True)
class World:
    """The processes of one run. All of them call the collective functions, in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Slice of `count` items that this process owns.

        The slices do not overlap; their lengths differ by one at most.
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model as one whose gradients are averaged over the processes.

        All processes get the first one's parameters. Buffers are not synchronised, since a buffer
        of a head may hold a sum over the images of its process. `average_statistics` averages those
        of the batch norms.
        """
        if self.size == 1:
            return model
        # Newer versions of torch call the argument forward_sync_buffers.
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            return DistributedDataParallel(model, broadcast_buffers=False)

    def all_sum(self, values: list[float]) -> list[float]:
        """Collective: return the sums over the processes."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def all_max(self, value: int) -> int:
        """Collective: return the largest of the processes' values."""
        if self.size == 1:
            return value
        largest = torch.tensor(value)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def barrier(self) -> None:
        """Collective: wait for the other processes."""
        self.all_max(0)

    def agree(self, value: int) -> bool:
        """Collective: whether all processes have the same value."""
        return self.all_max(value) == -self.all_max(-value)

    def broadcast_from_first(self, value: Any) -> Any:
        """Collective: return the first process's value."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """Collective: return all values on the first process, [] on the others."""
        if self.size == 1:
            return [value]
        values = [None] * self.size if self.first else None
        dist.gather_object(value, values)
        return values or []

    def all_gather(self, values: Tensor, count: int) -> Tensor:
        """Collective: join the processes' shards of a tensor.

        Args:
            values: this process's shard, on the CPU: `values[world.shard(count)]` of the whole.
            count: the length of the whole tensor.

        Returns the whole tensor [count, ...].
        """
        if self.size == 1:
            return values
        shards = [World(rank, self.size).shard(count) for rank in range(self.size)]
        lengths = [shard.stop - shard.start for shard in shards]
        padding = values.new_zeros(max(lengths) - len(values), *values.shape[1:])
        padded = torch.cat([values, padding])  # gloo gathers tensors of equal shapes
        gathered = [torch.empty_like(padded) for _ in shards]
        dist.all_gather(gathered, padded)
        return torch.cat(
            [tensor[:length] for tensor, length in zip(gathered, lengths, strict=True)]
        )

    @torch.no_grad()
    def average_statistics(self, model: nn.Module) -> None:
        """Collective: average the running statistics of the model's batch norms.

        Each process has computed them from its own images.
        """
        if self.size == 1:
            return
        for module in model.modules():
            if not isinstance(module, nn.modules.batchnorm._BatchNorm):
                continue
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:  # a batch norm may keep none
                    dist.all_reduce(statistic)
                    statistic /= self.size


ALONE = World()


def device_name(name: str) -> str:
    """The name of this process's device. Under torchrun each process gets its own GPU.

    Args:
        name: the option --device.

    Raises ValueError if there are fewer GPUs than processes, or for an environment variable that
    torchrun would not set.
    """
    processes = torchrun.local_size()
    if processes > 1 and name.startswith("cuda:"):
        raise ValueError(
            f"--device {name} would give all {processes} processes the same GPU: leave it out, and "
            "each takes its own"
        )
    if (
        "LOCAL_RANK" not in os.environ
        or name not in ("auto", "cuda")
        or not torch.cuda.is_available()
    ):
        return name
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise ValueError(
            f"--nproc-per-node={processes} asks for more GPUs than this machine's {gpus}"
        )
    return f"cuda:{os.environ['LOCAL_RANK']}"


@contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Connect the processes that torchrun started; without torchrun, yield `ALONE`.

    Raises RuntimeError if they cannot be connected.
    """
    if torchrun.size() == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with interruption.immediate():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
