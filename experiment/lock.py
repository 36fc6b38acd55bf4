"""One process at a time in a run's folder.

The lock holds on this host, and on others where the file system carries locks between them.
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

LOCK = ".lock"  # filelock's file
HOLDER = ".holder"  # says which process has the lock
# Identifies this process. A host may change its name, and another host may have a process with the
# same number.
TOKEN = secrets.token_hex(16)


class Locked(OSError):
    """Another process works in the folder."""

    exit_status = 3


@contextmanager
def locked(folder: Path, wait: float = 0) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it does not exist.

    The lock is the system's own (flock), which ends with its process. On a file system without
    such locks, the file itself is the lock. Then filelock deletes the file of another process only
    if that process ran on this host and is dead.

    Args:
        folder: the folder.
        wait: seconds to wait for another process to leave.

    Raises Locked if another process stays, ValueError if the folder cannot be written to.
    """
    lock = FileLock(folder / LOCK)
    now = f"{datetime.now(UTC):%F %T} UTC"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
        holder = {"process": os.getpid(), "host": socket.gethostname(), "since": now}
        (folder / HOLDER).write_text(json.dumps(holder | {"token": TOKEN}))
    except Timeout:
        raise Locked(f"{folder} is being worked on by {_describe_holder(folder)}") from None
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
    """Raises OSError if the folder that this process has locked was deleted or replaced."""
    if _holder(folder).get("token") != TOKEN:
        raise OSError(f"{folder} was deleted, moved or replaced while the run was at work in it")


def _describe_holder(folder: Path) -> str:
    holder = _holder(folder)
    try:
        return f"process {holder['process']} on {holder['host']}, since {holder['since']}"
    except LookupError:
        return "another process"


def _holder(folder: Path) -> dict[str, Any]:
    """What the holder's file says; {} if it cannot be read."""
    try:
        holder = json.loads((folder / HOLDER).read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}
