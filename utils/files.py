"""Opens regular files only, and writes files whole or not at all. Part of the package `dismax`."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class NotRegular(ValueError):
    """A path is a pipe, a socket, a device or a folder, and no file."""


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read bytes.

    Reading a pipe could wait for ever, and a device such as /dev/zero never ends.

    Raises NotRegular if it is not a regular file, OSError if it cannot be opened.
    """
    _refuse_not_regular(path, os.stat(path))  # opening a device can have effects
    # O_NONBLOCK, because the file may have become a pipe since the check.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        _refuse_not_regular(path, os.fstat(file.fileno()))
        yield file


def _refuse_not_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(
            f"{path} is no regular file but a pipe, a socket, a device or a folder: remove it"
        )


@contextmanager
def whole_file(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path in the file's folder, and rename it to the file at the end.

    If the block raises, the temporary file is deleted and the old file stays.

    Args:
        path: the file. Its folder is made if it does not exist.
        previous: the old file is kept under this name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        # `tempfile` makes files that only their owner may read; this one obeys the umask.
        temporary.touch(exist_ok=False)
        yield temporary
        _flush(temporary)
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except OSError as error:
        # The error of a full disk names no file.
        name = str(path) if error.filename in (None, str(temporary)) else error.filename
        raise OSError(error.errno, error.strerror, name) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_files(path: Path) -> Iterator[Path]:
    """Like `whole_file`, for a library that may write more files, PATH.data for example.

    Yields a path of the same name in a temporary folder. At the end its files are moved one by one,
    the file itself last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = temporary_path(path)
    folder.mkdir()
    try:
        yield folder / path.name
        for written in sorted(folder.iterdir(), reverse=True):
            _flush(written)
            os.replace(written, path.parent / written.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def temporary_path(path: Path) -> Path:
    """Return a new path in a file's folder, under which the file is written."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _flush(path: Path) -> None:
    """Bring a file's bytes to the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
