"""Reads the runs below some folders."""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiment import search, titles
from utils.output import print_line

from .runs import Runs

UNREADABLE_SHOWN = 5  # unreadable folders that warnings name


def read_runs(folders: Sequence[Path]) -> tuple[Runs, bool]:
    """Return the runs below some folders, with unique titles, and whether everything could be read.

    A warning names each file or folder that is left out.
    """
    found, problems, unreadable = search.find_records(*folders)
    for problem in (*problems, *unreadable[:UNREADABLE_SHOWN]):
        print_line(f"warning: {' '.join(problem.split())}: left out", sys.stderr)
    if len(unreadable) > UNREADABLE_SHOWN:
        print_line(
            f"warning: {len(unreadable) - UNREADABLE_SHOWN} more cannot be read: left out",
            sys.stderr,
        )
    unique = titles.with_unique_titles([*found.values()])
    return dict(zip(found, unique, strict=True)), not unreadable
