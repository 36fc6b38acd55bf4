"""The command line of a program, made from a dataclass."""

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from itertools import pairwise, takewhile
from typing import TypeVar

import tyro

from . import interruption
from .output import print_error, tolerate

T = TypeVar("T")
# torch has no class of its own for these; what its messages hold.
MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ended, the processor's or a GPU's."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in MEMORY)


def lost_a_decoder(error: BaseException) -> bool:
    """Whether a process that decodes images has ended; torch has no class of its own for it."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def status_of(work: Callable[[], int | None], interrupted: str) -> int:
    """Do a program's work, saying in one line what is wrong. Returns the exit status.

    It is 0 done, 1 a process that decodes images was killed, 2 bad input, 75 interrupted.

    Args:
        work: raises ValueError or OSError for bad input; may return another status.
        interrupted: what an interruption leaves behind.
    """
    try:
        return work() or 0
    except (ValueError, OSError) as error:
        return print_error(error)
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            said = " ".join(str(error).split())[:120] or "for an array"
            return print_error(
                f"out of memory ({said}): end other programs, or take a machine with more"
            )
        if lost_a_decoder(error):
            return print_error(
                f"{error}: a process that decodes images was killed (out of memory?): try again",
                status=1,
            )
        raise  # a fault of ours: its traceback says where
    except KeyboardInterrupt:
        return interruption.leave(interrupted)


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raises ValueError for an argument without a character: as a path it would mean the current
    folder.
    """
    for before, given in pairwise(("", *arguments)):
        if before == "--device":  # whose own check refuses it
            continue
        if not given or (given.startswith("--") and given.endswith("=")):
            option = (
                f"{(given or before).rstrip('=')} has"
                if (given or before).startswith("--")
                else "an argument has"
            )
            raise ValueError(
                f"{option} no value: is a variable of the shell empty? (leave it out, or give it "
                "one)"
            )


def read(
    kind: Callable[..., T],
    program: str,
    arguments: Sequence[str] | None = None,
    description: str | None = None,
) -> T:
    """The arguments (`sys.argv` by default) as an instance of a dataclass, whose docstrings are the
    help, or for a function.

    Raises ValueError, in one line, for what cannot be parsed.
    """
    tolerate()
    refuse_empty(sys.argv[1:] if arguments is None else arguments)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                kind, prog=program, args=arguments, description=description or kind.__doc__
            )
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        # tyro frames its message; the first paragraph says what is wrong.
        lines = [line.strip("│ ") for line in said.getvalue().splitlines()]
        message = " ".join(takewhile(lambda line: line and not line.startswith("─"), lines[1:]))
        raise ValueError(
            f"{message or ' '.join(lines)} (python {program} --help lists the options)"
        ) from None
