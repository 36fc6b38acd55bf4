"""One process at a time in a run's folder, on this host and, where the file system carries locks
between them, on others.
"""

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

LOCK, HOLDER = ".lock", ".holder"  # the lock is filelock's, who has it is written beside it
# Of this process: a host may change its name, and another have a process of the same number.
TOKEN = secrets.token_hex(16)


class Held(OSError):
    """Another process is at work in the folder."""


@contextmanager
def locked(folder: Path, wait: float = 0) -> Iterator[None]:
    """Hold the folder, which is made if it is not there. Raises Held if another process still does
    after `wait` seconds, and ValueError if it cannot be written to.

    The lock is the system's own (flock), which goes with its process, however that ends. On a file
    system without such locks it is the file itself, which filelock takes away only from a dead
    process of the same host.
    """
    lock = FileLock(folder / LOCK)
    now = f"{datetime.now(UTC):%F %T} UTC"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
        holder = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": now,
            "token": TOKEN,
        }
        (folder / HOLDER).write_text(json.dumps(holder))
    except Timeout:
        raise Held(f"{folder} is being worked on by {_holder(folder)}") from None
    except OSError as error:
        lock.release()
        raise ValueError(
            f"cannot write to {folder} ({error.strerror}): choose another folder, or make it "
            "writable"
        ) from error
    try:
        yield
    finally:
        lock.release()


def check(folder: Path) -> None:
    """Raises OSError if the folder that this process has locked is not its own any more: deleted,
    or another in its place.
    """
    if _held(folder).get("token") != TOKEN:
        raise OSError(f"{folder} was deleted, moved or replaced while the run was at work in it")


def _holder(folder: Path) -> str:
    held = _held(folder)
    try:
        return f"process {held['process']} on {held['host']}, since {held['since']}"
    except LookupError:
        return "another process"


def _held(folder: Path) -> dict[str, Any]:
    """What is written of who holds a folder; {} if that cannot be read."""
    try:
        held = json.loads((folder / HOLDER).read_text())
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}
