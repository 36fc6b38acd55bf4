"""What ends a run that is no fault of the code, put so that a user can do something about it."""

from .running import NonFiniteLoss

# torch has no classes of its own for these; what its messages hold.
MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
PEERS = ("Connection closed by peer", "Connection reset by peer", "NCCL", "gloo")


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
    if any(sign in message for sign in PEERS):
        return f"another process of this run has ended, or cannot be reached ({message[:120]})"
    return None
