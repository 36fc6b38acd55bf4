"""Writes the tables of README.md and of the studies' pages from the records, and the glossary.

Usage: python -m results.pages [--check]

--check writes nothing. It names the pages that are not up to date, and exits with 5.

In a page, a comment has the arguments of `analyze.py`: <!-- [[[cog table("FOLDER") ]]] -->
cog (https://cog.readthedocs.io) writes the lines from there to <!-- [[[end]]] -->
"""

import os
import re
import shlex
import subprocess
import sys
from itertools import dropwhile, takewhile
from pathlib import Path

import cogapp

from reporting.glossary import GLOSSARY
from reporting.origin import origin
from reporting.reading import read_runs

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "glossary.md",
    *sorted((ROOT / "results").rglob("README.md")),
]


def table(arguments: str, title: str = "", rows: str = "") -> None:
    """Write a command, and one of the tables that it prints.

    Args:
        arguments: those of `analyze.py`, from the root of the repository.
        title: a part of the table's title; by default the first table is written.
        rows: a regular expression; only rows with a match are written, by default all.

    Raises RuntimeError if the command fails or prints no such table.
    """
    command = [sys.executable, "analyze.py", *shlex.split(arguments), "--format", "markdown"]
    wide = os.environ | {"COLUMNS": "1000"}  # analyze.py folds titles to the terminal
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=wide)
    if process.returncode or title not in process.stdout:
        raise RuntimeError(f"analyze.py {arguments}: no table {title!r}. {process.stderr}")
    lines = process.stdout[process.stdout.index(title) :].splitlines()
    lines = takewhile(is_row, dropwhile(lambda line: not is_row(line), lines))
    head, rule, *body = lines
    body = [line for line in body if re.search(rows, line)]
    if not body:
        raise RuntimeError(f"analyze.py {arguments}: no row of {title!r} matches {rows!r}")
    print("```bash", f"python analyze.py {arguments}", "```", "", head, rule, *body, sep="\n")


def runs(folder: str) -> None:
    """Write how many runs a folder holds, and with which code and where they were made.

    Args:
        folder: from the root of the repository.

    Raises RuntimeError if it holds none.
    """
    found, _ = read_runs([ROOT / folder])
    if not found:
        raise RuntimeError(f"no finished run below {folder}")
    for label, text in origin(found).items():
        if label.lower().endswith("runs"):  # the others are about the page
            print(f"- **{label}**: {text}")


def glossary() -> None:
    """Write the words that the report explains."""
    print("| word | meaning |", "|---|---|", sep="\n")
    for word, meaning in GLOSSARY.items():
        print(f"| {word} | {meaning} |")


def is_row(line: str) -> bool:
    """Return whether a line is one of a table in Markdown."""
    return line.startswith("|")


def main(options: list[str]) -> int:
    """Write the pages, or check them. Returns cog's exit status: 5 if a check finds changes."""
    settings = ["-P", "-p", "from results.pages import glossary, runs, table", *(options or ["-r"])]
    return cogapp.Cog().main(["cog", *settings, *map(str, PAGES)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
