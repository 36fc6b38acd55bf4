"""What the programs say. Nobody may be reading any more (`| head`, a closed terminal, a full disk): that ends no run."""

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
