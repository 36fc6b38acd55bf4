"""What ends a run that is no fault of the code, put so that a user can do something about it."""

import torch.distributed as dist

from .running import NonFiniteLoss

# torch has no classes of its own for these; what its messages hold.
MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
PEERS = ("Connection closed by peer", "Connection reset by peer", "gloo")


def lost_a_process(error: BaseException) -> bool:
    """Whether the processes that torchrun started cannot reach each other, for one, because one has ended."""
    if dist.is_available() and isinstance(error, dist.DistError):  # NCCL's, and those of meeting
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in PEERS)


def explained(error: BaseException, batch_size: int | None = None) -> str | None:
    """What happened and what to do, in one line; None for an error that is a fault of the code."""
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in message for sign in MEMORY):
        smaller = f"a --batch-size smaller than {batch_size}, or " if batch_size else ""
        return f"out of memory ({message[:120] or 'for an array'}): take {smaller}a smaller network"
    if isinstance(error, (NonFiniteLoss, ValueError, OSError)):
        return message
    if message.startswith("DataLoader worker"):
        return f"{message}: a process that decodes images was killed (out of memory?)"
    if lost_a_process(error):
        return f"another process of this run has ended, or cannot be reached ({message[:300]})"
    return None
