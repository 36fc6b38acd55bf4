"""Ctrl-C, SIGTERM, SIGUSR1 (by which Slurm warns of a time limit) and SIGHUP (a closed terminal):
each stops a program.
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
    # The program was started with nohup: a closed terminal shall not stop it.
    SIGNALS.remove(signal.SIGHUP)
# What a program then leaves with: EX_TEMPFAIL, "try again later"; the same command goes on.
STATUS = 75
_asked = _deferred = _leaving = False


def _interrupt(*_) -> None:
    global _asked, _leaving
    _asked = True
    if not (_leaving or _deferred):  # a second one would only disturb the leaving
        _leaving = True
        raise KeyboardInterrupt


def _note_dropped(dropped: "sys.UnraisableHookArgs") -> None:
    global _leaving
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        _leaving = False  # so that the next one raises again
    elif not _leaving:  # it can leave an object half-made, whose destructor then fails
        sys.__unraisablehook__(dropped)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def begin(said: str = "nothing was begun") -> None:
    """Have all of them end the program with one line: for its imports, which take seconds and let
    no exception out whole.
    """

    def end(*_) -> NoReturn:
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"\ninterrupted: {said}\n".encode())
        os._exit(STATUS)

    for number in SIGNALS:
        signal.signal(number, end)


@contextmanager
def immediate() -> Iterator[None]:
    """While inside, they end the process as they do any other's: where it waits in C++, no handler
    of Python's is run.
    """
    held = [signal.signal(number, signal.SIG_DFL) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, held, strict=True):
            signal.signal(number, handler)


def listen() -> None:
    """Have all of them raise KeyboardInterrupt, as Ctrl-C does by itself, so that no half-written
    file stays behind.
    """
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    atexit.register(_ignore)  # Python forgets its handlers before it ends
    sys.unraisablehook = _note_dropped


def asked() -> bool:
    """Whether one came.

    Python drops an exception that is raised in a destructor or beside a fork, so a long loop has to
    ask.
    """
    return _asked


def leave(said: str) -> int:
    """Say what an interruption leaves behind. Returns the exit status."""
    print_line(f"\ninterrupted: {said}", sys.stderr)
    return STATUS


@contextmanager
def deferred() -> Iterator[None]:
    """While inside, a signal raises nothing: the code inside asks for it where it can stop, and
    raises KeyboardInterrupt itself.
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
