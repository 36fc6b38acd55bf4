"""Prints messages and results.

An output that can no longer be written to (`| head`, a closed terminal, a full disk) does not stop
a run. Names of files and data sets may hold characters that the output's encoding lacks, or that a
terminal takes for commands. These are printed as escapes.
"""

import codecs
import os
import sys
from typing import TextIO

from .torchrun import rank

# Replacements for the programs' own characters in encodings that lack them (ASCII, Latin-1).
REPLACEMENTS = {"±": "+-", "·": "-", "×": "x", "ε": "epsilon", "→": "->", "−": "-", "—": "-"}


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Error handler of `str.encode`: replaces or escapes the characters that the encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    replaced = (
        REPLACEMENTS.get(character) or character.encode("ascii", "backslashreplace").decode()
        for character in lacking
    )
    return "".join(replaced), error.end


codecs.register_error("replacements", _replace)


def tolerate() -> None:
    """Make standard output and error accept every character, in any encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replacements")


def visible(text: str) -> str:
    """Return the text with every unprintable character as an escape.

    A terminal takes some of these characters for commands, and does not show others.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def print_line(text: str, *streams: TextIO | None) -> None:
    """Print lines at once to one stream, by default standard output.

    If the stream cannot be written to, nothing is printed to it from then on.
    """
    stream = streams[0] if streams else sys.stdout
    if stream is None:  # it was closed before the program began
        return
    lines = [visible(line) for line in text.split("\n")]
    try:
        print("\n".join(lines), file=stream, flush=True)
    except OSError:
        _silence(stream)


def deliver(text: str) -> None:
    """Print a program's result, unchanged, to standard output.

    Raises OSError if it cannot be written to.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed")
    try:
        print(text, flush=True)
    except OSError as error:
        _silence(sys.stdout)
        raise OSError(f"cannot write to standard output ({error.strerror})") from error


def _silence(stream: TextIO) -> None:
    """Send the rest of a stream nowhere. Otherwise Python would fail at exit, when it writes it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def print_error(message: object, status: int = 2) -> int:
    """Print an error in one line. Returns the exit status."""
    process = f"process {rank()}: " if rank() else ""
    print_line(f"error: {process}{' '.join(str(message).split())}", sys.stderr)
    return status
