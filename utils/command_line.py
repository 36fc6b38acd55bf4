"""The command line of a program, made from a dataclass."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from itertools import takewhile
from typing import TypeVar

import tyro

from . import interruption
from .output import complain, tolerate

T = TypeVar("T")
# torch has no class of its own for these; what its messages hold.
MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ended, the processor's or a GPU's."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in MEMORY)


def status_of(work: Callable[[], int | None], interrupted: str) -> int:
    """Do a program's work, saying in one line what is wrong. Returns the exit status: 0 done, 2 bad input, 75 interrupted.

    Args:
        work: raises ValueError or OSError for bad input; may return another status.
        interrupted: what an interruption leaves behind.
    """
    try:
        return work() or 0
    except (ValueError, OSError) as error:
        return complain(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise  # a fault of ours: its traceback says where
        said = " ".join(str(error).split())[:120] or "for an array"
        return complain(f"out of memory ({said}): end other programs, or take a machine with more")
    except KeyboardInterrupt:
        return interruption.leave(interrupted)


def read(kind: type[T], program: str, arguments: Sequence[str] | None = None) -> T:
    """The arguments (`sys.argv` by default) as an instance of a dataclass, whose docstrings are the help.

    Raises ValueError, in one line, for what cannot be parsed.
    """
    tolerate()
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(kind, prog=program, args=arguments, description=kind.__doc__)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        # tyro frames its message; the first paragraph says what is wrong.
        lines = [line.strip("│ ") for line in said.getvalue().splitlines()]
        message = " ".join(takewhile(lambda line: line and not line.startswith("─"), lines[1:]))
        raise ValueError(f"{message or ' '.join(lines)} (python {program} --help lists the options)") from None
