"""Image lists: text files in the style of OpenOOD's lists.

A list has a line `PATH LABEL` for each image. The path is relative to the data directory, or
absolute, and may contain spaces. The label is an integer: the class's number, or -1 for an
out-of-distribution image.

A bad line raises ValueError, a missing image FileNotFoundError. Both name the list and the line.
"""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path

from utils.files import open_regular

from .decoding import SUFFIXES

LIST = ".txt"  # the ending of an image list's name, in capitals or not
SHOWN = 80  # characters of a list's line that an error repeats


def entries(list_: Path, root: Path) -> Iterator[tuple[str, Path, int]]:
    """Yield the place ("near.txt, line 3"), the path and the label of each image in a list.

    A label may be any integer.
    """
    with open_regular(list_) as file:
        content = file.read().removeprefix(codecs.BOM_UTF8)  # Windows editors write it first
    if b"\0" in content:
        raise ValueError(f"{list_} is no text file: write a line `PATH LABEL` for each image")
    lines = [
        (f"{list_}, line {number}", line)
        for number, line in enumerate(content.splitlines(), 1)
        if line.strip()
    ]
    if not lines:
        raise ValueError(f"{list_} lists no images: write a line `PATH LABEL` for each image")
    for where, line in lines:
        yield where, *_entry(line, where, root)


def _entry(line: bytes, where: str, root: Path) -> tuple[Path, int]:
    """Return the path and the label in one line of a list; each error begins with `where`."""
    # The line is bytes, because a file's name may be in any encoding.
    parts = [os.fsdecode(part) for part in line.rsplit(None, 1)]
    shown = [repr(part if len(part) <= SHOWN else f"{part[:SHOWN]}...") for part in parts]
    if len(parts) < 2:
        raise ValueError(f"{where}: {shown[0]} is not `PATH LABEL`: write both")
    # int() also takes 1_0, and the digits of any script.
    if not re.fullmatch("[+-]?[0-9]{1,4000}", parts[1]):
        raise ValueError(
            f"{where}: the label {shown[1]} is not an integer: write a whole number after the path"
        )
    label = int(parts[1])
    path = root / parts[0]
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{where}: {shown[0]} is no image file ({', '.join(sorted(SUFFIXES))}): convert it, "
            "or remove the line"
        )
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{where}: the image {path} is missing (paths are relative to --data-dir {root}): "
            "correct the path, or name another --data-dir"
        )
    return path, label
