"""Ctrl-C and SIGTERM: both stop a run, and are not lost."""

import signal
import sys
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_asked = False


def _interrupt(*_) -> NoReturn:
    global _asked
    _asked = True
    for number in SIGNALS:  # a second one would only disturb the leaving
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def listen() -> None:
    """Have both raise KeyboardInterrupt, as Ctrl-C does by itself, so that no half-written file stays behind."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    report = sys.unraisablehook
    sys.unraisablehook = lambda dropped: None if isinstance(dropped.exc_value, KeyboardInterrupt) else report(dropped)


def asked() -> bool:
    """Whether one came. Python drops an exception that is raised in a destructor or beside a fork, so a long loop has to ask."""
    return _asked
