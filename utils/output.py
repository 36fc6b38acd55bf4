"""Prints what the programs say.

An output that can no longer be written to (`| head`, a closed terminal, a full disk) does not end a
run. Names of files and data sets may hold characters that the output's encoding lacks, or that a
terminal would take for commands: these are printed as escapes.
"""

import codecs
import os
import sys
from typing import TextIO

# How the programs' own characters are spelled where the output's encoding (ASCII, Latin-1) lacks
# them.
SPELLED = {"±": "+-", "·": "-", "×": "x", "ε": "epsilon", "→": "->", "−": "-", "—": "-"}


def _spell(error: UnicodeError) -> tuple[str, int]:
    """An error handler for `str.encode`: spells the characters that the encoding lacks, or escapes
    them.
    """
    lacking = error.object[error.start : error.end]
    return "".join(
        SPELLED.get(each) or each.encode("ascii", "backslashreplace").decode() for each in lacking
    ), error.end


codecs.register_error("spelled", _spell)


def tolerate() -> None:
    """Make standard output and error accept every character, in any encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="spelled")


def visible(text: str) -> str:
    """The text with every unprintable character as an escape: a terminal takes some for commands
    and hides others.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def print_line(text: str, *to: TextIO | None) -> None:
    """Print lines at once, to standard output or another stream.

    If it cannot be written to, it stays silent from then on.
    """
    (stream,) = to or (sys.stdout,)
    if stream is None:  # closed before the program began
        return
    try:
        print("\n".join(map(visible, text.split("\n"))), file=stream, flush=True)
    except OSError:
        _silence(stream)


def deliver(text: str) -> None:
    """Print a program's result, unchanged, to standard output.

    Raises OSError if that cannot be written to.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed")
    try:
        print(text, flush=True)
    except OSError as error:
        _silence(sys.stdout)
        raise OSError(f"cannot write to standard output ({error.strerror})") from error


def _silence(stream: TextIO) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, stream.fileno())  # or Python would fail at exit, when it writes the rest
    os.close(silence)


def rank() -> int:
    """This process's number among torchrun's; 0 if it is alone.

    Process 0 prints what all of them would say.
    """
    number = os.environ.get("RANK", "")
    return int(number) if number.isdecimal() and os.environ.get("WORLD_SIZE", "1") != "1" else 0


def print_error(message: object, status: int = 2) -> int:
    """Say in one line what is wrong. Returns the exit status."""
    print_line(
        f"error: {f'process {rank()}: ' if rank() else ''}{' '.join(str(message).split())}",
        sys.stderr,
    )
    return status
