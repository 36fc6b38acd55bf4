"""Finds the finished runs below a folder."""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.output import print_line

from .config import identity_of
from .records import METRICS, read_record

PATIENCE = 3  # seconds between two lines that say that a search goes on


def files_named(root: Path, name: str) -> tuple[list[Path], list[str]]:
    """All files of a name in or below a folder, and the folders that this user may not read.

    Both are sorted, the files with numbers in their names by value. Links to folders are followed,
    but each folder is searched once.
    """
    found, unreadable, visited = [], [], set()
    printed = time.monotonic() + PATIENCE

    def note(error: OSError) -> None:
        if isinstance(error, PermissionError):
            unreadable.append(str(error.filename))

    # os.walk, because Path.rglob does not follow links, such as one to a larger disk.
    for folder, subfolders, files in os.walk(root, onerror=note, followlinks=True):
        try:
            status = os.stat(folder)
        except OSError as error:  # it was deleted meanwhile, or may not be entered
            note(error)
            continue
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders.sort()  # of two links to one folder, always the same one counts
        if name in files:
            found.append(Path(folder) / name)
        if time.monotonic() > printed:
            print_line(
                f"searching {root}: {len(visited):,} folders so far, {len(found):,} runs found "
                "(Ctrl-C stops)",
                sys.stderr,
            )
            printed = time.monotonic() + PATIENCE
    return sorted(found, key=_numbers_in_order), sorted(unreadable)


def _numbers_in_order(path: Path) -> list[list[str | int]]:
    """Return the sort key: numbers by value, and the folder 1 before the folder 1-old."""
    parts = [re.split(r"(\d+)", part) for part in path.parts]  # every second one is a number
    return [[int(text) if index % 2 else text for index, text in enumerate(part)] for part in parts]


def find_records(*roots: Path) -> tuple[dict[Path, dict[str, Any]], list[str], list[str]]:
    """All records below some folders. What two of them hold is read once.

    Returns:
        the records by their folders, in a fixed order; a line for each file that is damaged or
        repeats a run; and a line for each file or folder that this user may not read, and, if
        there are several roots, for each without any run.
    """
    unreadable, paths = [], {}
    for root in roots:
        files, folders = files_named(root, METRICS)
        unreadable += [f"{folder} cannot be read (Permission denied)" for folder in folders]
        if len(roots) > 1 and not files:  # of a single one the caller says this, as an error
            unreadable.append(f"no finished run is in or below {root}")
        for path in files:
            paths.setdefault(path.parent.resolve(), path)
    records, problems = {}, []
    for path in paths.values():
        try:
            record = read_record(path)
        except PermissionError as error:
            unreadable.append(f"{path} cannot be read ({error.strerror})")
            continue
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        run = json.dumps(identity_of(record["config"]), sort_keys=True)
        if run in records:
            problems.append(f"{path} is the same run as {records[run][0]}")
        records.setdefault(run, (path, record))
    found = {path.parent: record for path, record in records.values()}
    return found, problems, list(dict.fromkeys(unreadable))


def run_folders(roots: Sequence[Path]) -> list[Path]:
    """The folders of all finished runs in or below these folders, in order, each once.

    Raises ValueError for a folder without any, or with one that this user may not read.
    """
    if not roots:
        raise ValueError(
            "no runs given: name their folders, or one above them, such as runs/digits"
        )
    found = {}
    for root in roots:
        paths, unreadable = files_named(root, METRICS)
        if unreadable:
            raise ValueError(
                f"{unreadable[0]} cannot be read (Permission denied): make it readable, or name "
                "other folders"
            )
        if not paths:
            raise ValueError(
                f"no finished run in or below {root}: make one with python main.py, or name "
                "another folder"
            )
        for path in paths:
            found.setdefault(path.parent.resolve(), path.parent)
    return list(found.values())
