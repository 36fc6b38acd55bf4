#!/usr/bin/env python3
"""Aggregates the runs' records into the paper's tables: mean ± standard deviation, beside the
paper's own numbers.
"""

from __future__ import annotations

if __name__ == "__main__":
    from utils import interruption

    interruption.begin()

import shutil
import signal
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiment import search, titles
from reporting.aggregation import (
    Efficiencies,
    detail_rows,
    detail_tables,
    efficiencies,
    grouped,
    main_table,
    method_of,
)
from reporting.groups import HEADS, group_rows
from reporting.tables import BEST_SHOWN, STYLES, as_text, heading, show
from utils import interruption, program
from utils.output import deliver, print_error, print_line, visible

# Characters of a table's first column in a terminal of less than so many columns.
LABEL, WIDE = 10, 110
CELL = 15  # characters of the others, enough for "MMLES, fitted T"
SHOWN = 5  # folders that cannot be read which are named


@dataclass(frozen=True)
class Options:
    """Print the paper's tables from the records of all runs below a folder."""

    runs: Path = Path("runs")
    """Where the runs are."""
    format: Literal["table", "markdown", "latex", "csv"] = "table"
    """How to print; csv is one row a number, with all scores at both temperatures."""
    detail: bool = True
    """Print every score and metric of each out-of-distribution set too."""
    paper: bool = False
    """Print the whole of the paper's Table 2, the parts without runs too."""
    report: Path | None = None
    """Write a page with the tables, figures and example images into this folder instead, and the
    figures as PNG and PDF.
    """


def _broken(word: str) -> str:
    """A long word in two lines, if it has a hyphen."""
    return word.replace("-", "-\n") if len(word) > 12 else word


def show_folded(rows: list[list[str]], heads: list[str], style: str) -> None:
    """Print a table; in a terminal with its heads, and in a narrow one its labels, in several
    lines, so that it fits 80 columns.
    """
    if style == STYLES["table"]:
        wide = shutil.get_terminal_size().columns >= WIDE
        heads = [
            "\n".join(_broken(word) for word in head.replace("_", "_ ").split(" "))
            for head in heads
        ]
        labels = [
            row[0]
            if wide
            else textwrap.fill(row[0].replace("preprocessing", "prepro- cessing"), LABEL)
            for row in rows
        ]
        rows = [
            [label, *(textwrap.fill(cell, CELL) for cell in row[1:])]
            for label, row in zip(labels, rows, strict=True)
        ]
    show(rows, heads, style)


def print_tables(found: list[dict[str, Any]], options: Options, measured: Efficiencies) -> None:
    """Each group's tables; with `--paper` those of the paper that no run belongs to, too."""
    style, groups = STYLES[options.format], grouped(found, options.paper)
    for group, members in groups.items():
        data, data_title, network, how = group[:4]
        heads, rows = main_table(members, data, network, measured)
        heading(f"{data_title}, {network}\n{how}", style)
        show_folded(rows, heads, style)
        if means := group_rows((method_of(run), run) for run in members):
            heading(
                f"{data_title}, {network}, means of near and far sets (FPR@95: OOD positive)", style
            )
            show_folded(means, HEADS, style)
        for title, detail_heads, detail in detail_tables(members) if options.detail else ():
            heading(f"{title}, every score", style)
            show_folded(detail, detail_heads, style)
    if found and options.format == "table":
        deliver(
            f"\n{BEST_SHOWN} or bold: within the best one's spread; AUPR: average precision, OOD "
            "positive"
        )


def report(folder: Path, runs: dict[Path, dict[str, Any]], measured: Efficiencies) -> int:
    """Write the report. Returns the exit status: 0 written, 2 not possible, 75 interrupted."""
    try:
        from reporting.report import write_report  # which needs PyTorch, for scores, and matplotlib

        return write_report(folder, runs, measured)
    except ImportError as error:
        return print_error(f"--report lacks a package ({error}): pip install -r requirements.txt")
    except KeyboardInterrupt:
        return interruption.leave(f"{folder} may lack figures, or its page: run it again")


def print_csv(found: list[dict[str, Any]]) -> None:
    """One row a number."""
    table = detail_rows(found).drop(columns="own", errors="ignore")
    for name in table.select_dtypes(exclude="number"):
        table[name] = table[name].map(
            {cell: as_text(visible(str(cell))) for cell in table[name].unique()}
        )
    deliver(table.to_csv(index=False).removesuffix("\n"))


def perform(options: Options) -> int:
    """Returns the exit status. Raises ValueError or an OSError for what cannot be."""
    measured = efficiencies(options.runs)
    folders, problems, unreadable = search.find_records(options.runs)
    for problem in (*problems, *unreadable[:SHOWN]):
        print_line(f"warning: {' '.join(problem.split())}: left out", sys.stderr)
    if unreadable[SHOWN:]:
        print_line(f"warning: {len(unreadable) - SHOWN} more cannot be read: left out", sys.stderr)
    found = titles.with_unique_titles([*folders.values()])
    if not (found or options.paper):
        return print_error(
            f"no finished run below {options.runs}: make one with python main.py, or name a "
            "folder with --runs"
        )
    if options.report:
        status = report(options.report, dict(zip(folders, found, strict=True)), measured)
    elif options.format == "csv":
        status = print_csv(found)
    else:
        status = print_tables(found, options, measured)
    return status or (2 if unreadable else 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 printed, 2 bad input, nothing to print or not all of it readable,
    75 interrupted.
    """
    return program.exit_status(
        lambda: perform(program.read(Options, "analyze.py", arguments)), "not all was printed"
    )


if __name__ == "__main__":
    interruption.listen()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `analyze.py | head` ends quietly
    sys.exit(main())
