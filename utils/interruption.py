"""Ctrl-C, SIGTERM and SIGUSR1 (by which Slurm warns of a time limit): each stops a program, and is not lost."""

import atexit
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
STATUS = 75  # what a program then leaves with: EX_TEMPFAIL, "try again later"; the same command goes on
_asked = _deferred = False


def _interrupt(*_) -> None:
    global _asked
    first, _asked = not _asked, True
    if first and not _deferred:  # a second one would only disturb the leaving
        raise KeyboardInterrupt


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def listen() -> None:
    """Have all of them raise KeyboardInterrupt, as Ctrl-C does by itself, so that no half-written file stays behind."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    atexit.register(_ignore)  # Python forgets its handlers before it ends
    report = sys.unraisablehook
    sys.unraisablehook = lambda dropped: None if isinstance(dropped.exc_value, KeyboardInterrupt) else report(dropped)


def asked() -> bool:
    """Whether one came. Python drops an exception that is raised in a destructor or beside a fork, so a long loop has to ask."""
    return _asked


def leave(said: str) -> int:
    """Say what an interruption leaves behind. Returns the exit status."""
    print(f"\ninterrupted: {said}", file=sys.stderr)
    return STATUS


@contextmanager
def deferred() -> Iterator[None]:
    """While inside, a signal raises nothing: the code inside asks for it where it can stop, and raises KeyboardInterrupt itself."""
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False
