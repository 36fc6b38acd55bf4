"""The command line of a program, made from a dataclass."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from itertools import takewhile
from typing import TypeVar

import tyro

T = TypeVar("T")


def read(kind: type[T], program: str, arguments: Sequence[str] | None = None) -> T:
    """The arguments (`sys.argv` by default) as an instance of a dataclass, whose docstrings are the help.

    Raises ValueError, in one line, for what cannot be parsed.
    """
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
