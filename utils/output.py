"""What the programs say, and which process says it.

Nobody may be reading any more (`| head`, a closed terminal, a full disk): that ends no run. Names of files and data sets may hold
characters that the output's encoding lacks, or that a terminal would obey: they are written in other characters.
"""

import codecs
import os
import sys
from typing import TextIO

# What the programs print themselves, for an output of ASCII or Latin-1.
SPELLED = {"±": "+-", "·": "-", "×": "x", "ε": "epsilon", "→": "->", "−": "-", "—": "-"}


def _spell(error: UnicodeError) -> tuple[str, int]:
    """For a character that the output's encoding lacks: a spelling of it, or its number as an escape."""
    lacking = error.object[error.start : error.end]
    return "".join(SPELLED.get(each) or each.encode("ascii", "backslashreplace").decode() for each in lacking), error.end


codecs.register_error("spelled", _spell)


def tolerate() -> None:
    """Have standard output and error take every character, whatever their encoding is."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="spelled")


def visible(text: str) -> str:
    """A text whose invisible characters are escapes, all but the space: a terminal obeys some of them, and hides others."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print lines, to standard output or another stream, at once. A stream that cannot be written to is silenced for good."""
    stream = stream or sys.stdout
    if stream is None:  # closed before the program began
        return
    try:
        print("\n".join(map(visible, text.split("\n"))), file=stream, flush=True)
    except OSError:
        _silence(stream)


def deliver(text: str) -> None:
    """Print what a program was asked for, as it is, to standard output. Raises OSError if that cannot be written to."""
    if sys.stdout is None:
        raise OSError("standard output is closed")
    try:
        print(text, flush=True)
    except OSError as error:
        _silence(sys.stdout)
        raise OSError(f"cannot write to standard output ({error.strerror})") from error


def _silence(stream: TextIO) -> None:
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
