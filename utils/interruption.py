"""Signals that stop a program: Ctrl-C, SIGTERM, SIGHUP (a closed terminal), and SIGUSR1, by which
Slurm warns of a time limit.
"""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from .output import print_line

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
]
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    # The program was started with nohup: a closed terminal must not stop it.
    SIGNALS.remove(signal.SIGHUP)
# The exit status of an interrupted program: EX_TEMPFAIL of sysexits.h, "try again later".
STATUS = 75
_asked = False  # a signal came
_deferred = False  # the code in `deferred` raises KeyboardInterrupt itself
_leaving = False  # KeyboardInterrupt was raised, and the program is ending


def _interrupt(*_) -> None:
    """Signal handler: raise KeyboardInterrupt once. A second one would disturb the cleaning up."""
    global _asked, _leaving
    _asked = True
    if not (_leaving or _deferred):
        _leaving = True
        raise KeyboardInterrupt


def _note_dropped(dropped: "sys.UnraisableHookArgs") -> None:
    """Called for an exception that Python drops, such as one in a destructor."""
    global _leaving
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        _leaving = False  # the next signal raises again
    elif not _leaving:  # an interruption can leave an object half made, whose destructor then fails
        sys.__unraisablehook__(dropped)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def begin(message: str = "nothing was begun") -> None:
    """Let every signal end the program at once, with one line that holds this message.

    Programs call this before their imports. These take seconds, and an exception that is raised in
    them may not reach the program as it is.
    """

    def end(*_) -> NoReturn:
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"\ninterrupted: {message}\n".encode())
        os._exit(STATUS)

    for number in SIGNALS:
        signal.signal(number, end)


@contextmanager
def immediate() -> Iterator[None]:
    """Inside this block a signal ends the process at once, as if the program had no handlers.

    For code that waits in C++, where Python runs no handler.
    """
    handlers = [signal.signal(number, signal.SIG_DFL) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)


def listen() -> None:
    """Let every signal raise KeyboardInterrupt, so that no half-written file stays behind."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    atexit.register(_ignore)  # Python removes its handlers before it ends
    sys.unraisablehook = _note_dropped


def asked() -> bool:
    """Whether a signal came.

    A long loop must check this: Python drops an exception that a handler raises during a
    destructor or a fork.
    """
    return _asked


def leave(message: str) -> int:
    """Print what an interruption leaves behind. Returns the exit status."""
    print_line(f"\ninterrupted: {message}", sys.stderr)
    return STATUS


@contextmanager
def deferred() -> Iterator[None]:
    """Inside this block a signal raises nothing.

    The code in it calls `asked` where it can stop, and raises KeyboardInterrupt itself.
    """
    global _deferred, _leaving
    _deferred = True
    try:
        yield
    except KeyboardInterrupt:
        _leaving = True
        raise
    finally:
        _deferred = False
