"""How the program data.prepare speaks, and how a signal ends it: this package imports no other,
`utils` neither.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn, TextIO

STATUS = 75  # as the other programs
LEFT = "\ninterrupted: what has arrived is kept; the same command goes on"
# Under nohup a closed terminal shall not stop the program. SIGINT is ignored in what a script runs
# in the background.
NUMBERS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
]
NUMBERS = [
    each for each in NUMBERS if each == signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN
]


def end_at_once() -> None:
    """Have a signal end the program with one line: in its imports, and where the first one is being
    seen to.
    """
    for number in NUMBERS:
        signal.signal(number, _end)


def listen() -> None:
    """Have the first signal raise KeyboardInterrupt."""
    for number in NUMBERS:
        signal.signal(number, _interrupt)


def leave() -> int:
    """Say what an interruption leaves behind. Returns the exit status."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)
    print_line(LEFT, sys.stderr)
    return STATUS


def print_line(text: str, *to: TextIO | None) -> None:
    """Print to standard output or another stream.

    If that cannot be written to, it stays silent from then on.
    """
    (stream,) = to or (sys.stdout,)
    if stream is None:  # closed before the program began
        return
    try:
        print(text, file=stream, flush=True)
    except OSError:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, stream.fileno())  # or Python would fail at exit, when it writes the rest
        os.close(silence)


def _end(*_) -> NoReturn:
    with suppress(OSError):
        os.write(2, f"{LEFT}\n".encode())
    os._exit(STATUS)


def _interrupt(*_) -> NoReturn:
    end_at_once()
    raise KeyboardInterrupt
