"""What ends a program early, put in one line so that a user can do something about it, and its exit
status.
"""

from collections.abc import Callable

import torch.distributed as dist

from utils import interruption
from utils.output import print_error, rank
from utils.program import lost_a_decoder, out_of_memory

from .epoch_sums import NonFiniteLoss
from .graph import CaptureError

# torch has no class of its own for these; what its messages hold.
PEERS = ("Connection closed by peer", "Connection reset by peer", "gloo")


def lost_a_process(error: BaseException) -> bool:
    """Whether the processes that torchrun started cannot reach each other, for one, because one has
    ended.
    """
    if dist.is_available() and isinstance(error, dist.DistError):  # NCCL's, and those of meeting
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in PEERS)


def explained(error: BaseException, batch_size: int | None = None) -> str | None:
    """What happened and what to do, in one line; None for an error that is a fault of the code."""
    message = " ".join(str(error).split())
    if out_of_memory(error):
        smaller = f"a --batch-size smaller than {batch_size}, or " if batch_size else ""
        return f"out of memory ({message[:120] or 'for an array'}): take {smaller}a smaller network"
    if isinstance(error, (NonFiniteLoss, CaptureError, ValueError, OSError)):
        return message
    if lost_a_decoder(error):
        return f"{message}: a process that decodes images was killed (out of memory?)"
    if lost_a_process(error):
        return f"another process of this run has ended, or cannot be reached ({message[:300]})"
    return None


def outcome(work: Callable[[], int], kept: Callable[[], str], batch_size: int | None = None) -> int:
    """The exit status of work, and one line for what ends it early: 1 if it fails, 75 if it is
    interrupted.

    `kept` says what is left of it then.
    """
    try:
        return work()
    except (
        KeyboardInterrupt,
        NonFiniteLoss,
        ValueError,
        OSError,
        RuntimeError,
        MemoryError,
    ) as error:
        # A Ctrl-C reaches all processes of a run, and others may be the first to go.
        if isinstance(error, KeyboardInterrupt) or (interruption.asked() and lost_a_process(error)):
            if rank():  # the first speaks for all
                return interruption.STATUS
            return interruption.leave(f"{kept()}; the same command goes on")
        if not (said := explained(error, batch_size)):
            raise
        return print_error(f"{said}; {kept()}", status=1)
