"""Opens files that may be anything, searches for files below a folder, and writes files whole."""

import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .output import print_line

PATIENCE = 3  # seconds between two lines that say that a search goes on


def open_regular(path: Path) -> BinaryIO:
    """Opens a file to read bytes. Raises ValueError if it is not a regular file, OSError if it
    cannot be opened.

    Reading a pipe could wait for ever, and a device such as /dev/zero never ends.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # opening a device can have effects
        raise ValueError(f"{path} is no regular file: delete it")
    # Not blocking: what has become a pipe since would wait for ever.
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path} is no regular file: delete it")
    return file


def named_below(root: Path, name: str) -> tuple[list[Path], list[str]]:
    """All files with this name in or below a folder, and the folders that this user may not read.
    Both are sorted.

    Links to folders are followed. Each folder is searched once, however many links lead to it.
    """
    found, unreadable, seen, told = [], [], set(), time.monotonic() + PATIENCE

    def note(error: OSError) -> None:
        if isinstance(error, PermissionError):
            unreadable.append(str(error.filename))

    # os.walk, since Path.rglob does not follow links, such as one to a larger disk.
    for folder, inside, names in os.walk(root, onerror=note, followlinks=True):
        try:
            here = os.stat(folder)
        except OSError as error:  # it was deleted meanwhile, or may not be entered
            note(error)
            continue
        if (here.st_dev, here.st_ino) in seen:
            inside.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        inside.sort()  # so of two links to one folder it is always the same one that counts
        found += [Path(folder) / name] if name in names else []
        if time.monotonic() > told:
            print_line(
                f"searching {root}: {len(seen):,} folders so far, {len(found):,} runs found "
                "(Ctrl-C stops)",
                sys.stderr,
            )
            told = time.monotonic() + PATIENCE
    return sorted(found), sorted(unreadable)


@contextmanager
def whole_file(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """A temporary path in the file's folder that becomes the file if the block ends well, and goes
    if it does not.

    What was there before is kept as `previous`, where given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        # So it has the mode that the umask allows; tempfile's files are their maker's alone.
        temporary.touch(exist_ok=False)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except OSError as error:
        # A full disk names none.
        named = str(path) if error.filename in (None, str(temporary)) else error.filename
        raise OSError(error.errno, error.strerror, named) from error
    finally:
        temporary.unlink(missing_ok=True)
