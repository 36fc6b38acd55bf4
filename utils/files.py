"""Reads files that others left, and looks for them below a folder."""

import os
import stat
import sys
import time
from pathlib import Path
from typing import BinaryIO

from .output import say

PATIENCE = 3  # seconds of searching before it says so, and between one line and the next


def open_regular(path: Path) -> BinaryIO:
    """A file to read bytes from. Raises ValueError for what is no regular file, and OSError for what cannot be opened.

    Reading a pipe would wait for its other end, and a device such as /dev/zero never ends.
    """
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path} is no regular file: delete it")
    return file


def named_below(root: Path, name: str) -> tuple[list[Path], list[str]]:
    """All files of a name in or below a folder, sorted, and the folders that this user may not read.

    Links to folders are followed, and each folder is searched once, whatever links lead to it.
    """
    found, unreadable, seen, told = [], [], set(), time.monotonic() + PATIENCE

    def note(error: OSError) -> None:
        if isinstance(error, PermissionError):
            unreadable.append(str(error.filename))

    # Path.rglob does not go into folders that are links, such as one to a disk with more room.
    for folder, inside, names in os.walk(root, onerror=note, followlinks=True):
        try:
            here = os.stat(folder)
        except OSError as error:  # it has gone meanwhile, or may not be entered
            note(error)
            continue
        if (here.st_dev, here.st_ino) in seen:
            inside.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        inside.sort()  # of two links to a folder the same one counts each time
        found += [Path(folder) / name] if name in names else []
        if time.monotonic() > told:
            say(f"searching {root}: {len(seen):,} folders so far, {len(found):,} runs found (Ctrl-C stops)", sys.stderr)
            told = time.monotonic() + PATIENCE
    return sorted(found), sorted(unreadable)
