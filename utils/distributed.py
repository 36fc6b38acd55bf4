"""One run in several processes, started by torchrun: who is who, and what they tell each other.

A run in one process is a world of one, in which every function here gives back what it got.
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

from . import interruption


@dataclass(frozen=True)
class World:
    """The processes of one run. All call the collective functions in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Slice of `count` items that this process owns.

        The slices do not overlap; their lengths differ by one at most.
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are the mean of all processes'; the parameters become those of
        the first.

        Buffers stay each process's own until they are averaged: a head may sum over its own images
        in them.
        """
        if self.size == 1:
            return model
        # Newer torches call it forward_sync_buffers.
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            return DistributedDataParallel(model, broadcast_buffers=False)

    def all_sum(self, values: list[float]) -> list[float]:
        """Collective: the sums over the processes."""
        if self.size == 1:
            return values
        found = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(found)
        return found.tolist()

    def all_max(self, value: int) -> int:
        """Collective: the largest of the processes' values."""
        if self.size == 1:
            return value
        found = torch.tensor(value)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def barrier(self) -> None:
        """Collective: wait for the others."""
        self.all_max(0)

    def agree(self, value: int) -> bool:
        """Collective: whether all have the same value."""
        return self.all_max(value) == -self.all_max(-value)

    def broadcast_from_first(self, value: Any) -> Any:
        """Collective: the first process's value."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held)
        return held[0]

    def gather(self, value: Any) -> list[Any]:
        """Collective: each process's value, on the first; an empty list on the others."""
        if self.size == 1:
            return [value]
        found = [None] * self.size if self.first else None
        dist.gather_object(value, found)
        return found or []

    def all_gather(self, part: Tensor, count: int) -> Tensor:
        """Collective: the whole tensor [count, ...] on the CPU; each process gives its shard."""
        if self.size == 1:
            return part
        longest = -(-count // self.size)
        padded = torch.cat([part, part.new_zeros(longest - len(part), *part.shape[1:])])
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        lengths = [World(rank, self.size).shard(count) for rank in range(self.size)]
        return torch.cat(
            [
                each[: length.stop - length.start]
                for each, length in zip(parts, lengths, strict=True)
            ]
        )

    @torch.no_grad()
    def average_statistics(self, model: nn.Module) -> None:
        """Collective: give the model's batch norms the mean of the processes' running statistics,
        each of its own images.
        """
        if self.size == 1:
            return
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                for statistic in (module.running_mean, module.running_var):
                    dist.all_reduce(statistic)
                    statistic /= self.size


ALONE = World()


def size() -> int:
    """How many processes torchrun started.

    Raises ValueError for an environment that is not torchrun's.
    """
    count, number = os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK", "")
    if count == "1":
        return 1
    if not (count.isdecimal() and number.isdecimal() and int(number) < int(count)):
        raise ValueError(
            f"the environment's WORLD_SIZE={count} and RANK={number} name no process: use "
            "torchrun, or unset them"
        )
    return int(count)


def local_size() -> int:
    """How many processes torchrun started on this machine.

    Raises ValueError for an environment that is not torchrun's.
    """
    count = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if not (count.isdecimal() and int(count) > 0):
        raise ValueError(
            f"the environment's LOCAL_WORLD_SIZE={count} is no number of processes: use torchrun, "
            "or unset it"
        )
    return int(count)


def device_name(name: str) -> str:
    """The device of this process: under torchrun each takes a GPU of its own.

    Raises ValueError if there are too few.
    """
    here = local_size()
    if here > 1 and name.startswith("cuda:"):
        raise ValueError(
            f"--device {name} would give all {here} processes the same GPU: leave it out, and "
            "each takes its own"
        )
    if (
        "LOCAL_RANK" not in os.environ
        or name not in ("auto", "cuda")
        or not torch.cuda.is_available()
    ):
        return name
    if here > (count := torch.cuda.device_count()):
        raise ValueError(f"--nproc-per-node={here} asks for more GPUs than this machine's {count}")
    return f"cuda:{os.environ['LOCAL_RANK']}"


@contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Meet the processes that torchrun started; without it, a world of one.

    Raises RuntimeError if they do not meet.
    """
    if size() == 1:
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
