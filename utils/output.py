"""What the programs say, and which process says it.

Nobody may be reading any more (`| head`, a closed terminal, a full disk): that ends no run.
"""

import os
import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line, to standard output or another stream, at once. A stream that cannot be written to is silenced for good."""
    stream = stream or sys.stdout
    if stream is None:  # closed before the program began
        return
    try:
        print(text, file=stream, flush=True)
    except OSError:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, stream.fileno())  # Python writes what is left when it ends
        os.close(silence)


def rank() -> int:
    """This process's number among torchrun's; 0 if it is alone. The first speaks for all where all would say the same."""
    number = os.environ.get("RANK", "")
    return int(number) if number.isdecimal() and os.environ.get("WORLD_SIZE", "1") != "1" else 0


def complain(message: object, status: int = 2) -> int:
    """Say in one line what is wrong. Returns the exit status."""
    say(f"error: {f'process {rank()}: ' if rank() else ''}{' '.join(str(message).split())}", sys.stderr)
    return status
