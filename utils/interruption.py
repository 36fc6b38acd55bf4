"""Ctrl-C and SIGTERM: both stop a run, and are not lost."""

import signal
from typing import NoReturn

_asked = False


def _interrupt(*_) -> NoReturn:
    global _asked
    _asked = True
    raise KeyboardInterrupt


def listen() -> None:
    """Have both raise KeyboardInterrupt, as Ctrl-C does by itself, so that no half-written file stays behind."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def asked() -> bool:
    """Whether one came. Python drops an exception that is raised in a destructor or beside a fork, so a long loop has to ask."""
    return _asked
