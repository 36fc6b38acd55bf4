#!/usr/bin/env python3
"""Prints the paper's tables from the records of runs.

A number is the mean ± standard deviation over seeds. The paper's own numbers stand beside ours.
"""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import shutil
import signal
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiment import search, titles
from reporting.aggregation import Efficiencies, efficiencies, main_table
from reporting.beside import BESIDE_HEADS, beside_rows, read_published, source_lines
from reporting.classification import classification_tables
from reporting.details import detail_rows, detail_tables
from reporting.groups import HEADS, group_rows, has_groups
from reporting.runs import Runs, group_runs, method_of
from reporting.tables import STAR, STYLES, as_text, heading, show
from utils import program
from utils.output import deliver, print_error, print_line, visible

WIDE = 110  # columns of a terminal that shows the first column of a table in one line
LABEL_WIDTH = 10  # characters of a line of the first column in a narrower terminal
CELL_WIDTH = 15  # characters of a line of the other columns, enough for "MMLES, fitted T"
UNREADABLE_SHOWN = 5  # unreadable folders that warnings name


@dataclass(frozen=True)
class Options:
    """Print the paper's tables from the records of all runs below a folder."""

    runs: Path = Path("runs")
    """Where the runs are."""
    format: Literal["table", "markdown", "latex", "csv"] = "table"
    """How to print. csv has one row for each score, and all scores at both temperatures."""
    detail: bool = True
    """Print every score and metric of each out-of-distribution set too."""
    paper: bool = False
    """Print all tables of the paper's Table 2, those without runs too."""
    beside: Path | None = None
    """A CSV file of published means over near and far sets: print them with ours. The form is that
    of results/published.csv."""
    report: Path | None = None
    """Write a page with the tables, figures and example images into this folder instead, and the
    figures as PNG and PDF.
    """


def print_table(rows: list[list[str]], heads: list[str], style: str) -> None:
    """Print a table. In a terminal, long cells take several lines, so that it fits 80 columns."""
    if style == STYLES["table"]:
        wide = shutil.get_terminal_size().columns >= WIDE
        heads = [_folded_head(head) for head in heads]
        rows = [
            [
                label if wide else _folded_label(label),
                *(textwrap.fill(cell, CELL_WIDTH) for cell in cells),
            ]
            for label, *cells in rows
        ]
    show(rows, heads, style)


def _folded_head(head: str) -> str:
    """Return a column's head with a line for each word; a long word breaks at its hyphens."""
    words = head.replace("_", "_ ").split(" ")
    return "\n".join(word.replace("-", "-\n") if len(word) > 12 else word for word in words)


def _folded_label(label: str) -> str:
    """Return the first cell of a row in lines of `LABEL_WIDTH`."""
    return textwrap.fill(label.replace("preprocessing", "prepro- cessing"), LABEL_WIDTH)


def print_tables(runs: Runs, options: Options, measured: Efficiencies) -> None:
    """Print the tables of each group of runs."""
    style = STYLES[options.format]
    published = read_published(options.beside) if options.beside else None
    if options.beside and not any(map(has_groups, runs.values())):
        print_line(
            "warning: --beside compares means of near and far sets, and no run has both: give them "
            "to --ood",
            sys.stderr,
        )
    for group, members in group_runs(runs, options.paper).items():
        member_records = [*members.values()]
        title = f"{group.data_title}, {group.network}"
        heading(f"{title}\n{group.how}", style)
        heads, rows = main_table(group, member_records, measured)
        print_table(rows, heads, style)
        if means := group_rows((method_of(record), record) for record in member_records):
            heading(f"{title}, means of near and far sets (FPR@95: OOD positive)", style)
            print_table(means, HEADS, style)
            if published is not None:
                heading(f"{group.data_title}, beside published means", style)
                print_table(beside_rows(group, member_records, published), BESIDE_HEADS, style)
                deliver(source_lines(group, published, style))
        if options.detail:
            for table_title, heads, rows in classification_tables(member_records):
                heading(table_title, style)
                print_table(rows, heads, style)
            for set_title, heads, rows in detail_tables(member_records):
                heading(f"{set_title}, every score", style)
                print_table(rows, heads, style)
    if runs and options.format == "table":
        deliver(
            f"\n{STAR} or bold: within the best one's spread; AUPR: average precision, OOD positive"
        )


def report(folder: Path, runs: Runs, measured: Efficiencies) -> int:
    """Write the page. Returns the exit status: 0 written, 2 not possible, 75 interrupted."""
    try:
        from reporting.report import write_report  # needs PyTorch, for scores, and matplotlib

        return write_report(folder, runs, measured)
    except ImportError as error:
        return print_error(f"--report lacks a package ({error}): pip install -r requirements.txt")
    except KeyboardInterrupt:
        return interruption.leave(f"{folder} may lack figures, or its page: run it again")


def print_csv(runs: Runs) -> None:
    """Print one row for each run, set, temperature and score."""
    table = detail_rows([*runs.values()]).drop(columns="own", errors="ignore")
    for name in map(str, table.select_dtypes(exclude="number")):
        # Each different text once: a column repeats the same few.
        texts = {cell: as_text(visible(str(cell))) for cell in table[name].unique()}
        table[name] = table[name].map(texts)
    deliver(table.to_csv(index=False).removesuffix("\n"))


def read_runs(folder: Path) -> tuple[Runs, bool]:
    """Return the runs below a folder, with unique titles, and whether everything could be read.

    A warning names each file or folder that is left out.
    """
    found, problems, unreadable = search.find_records(folder)
    for problem in (*problems, *unreadable[:UNREADABLE_SHOWN]):
        print_line(f"warning: {' '.join(problem.split())}: left out", sys.stderr)
    if len(unreadable) > UNREADABLE_SHOWN:
        print_line(
            f"warning: {len(unreadable) - UNREADABLE_SHOWN} more cannot be read: left out",
            sys.stderr,
        )
    unique = titles.with_unique_titles([*found.values()])
    return dict(zip(found, unique, strict=True)), not unreadable


def perform(options: Options) -> int:
    """Print or write what the options ask for. Returns the exit status.

    Raises ValueError or OSError for bad input.
    """
    if options.report and options.format != "table":
        raise ValueError(
            f"--report writes a page, and --format {options.format} prints tables: leave one out"
        )
    if options.beside and (options.report or options.format == "csv"):
        raise ValueError("--beside adds a table to the printed ones: leave out --report or csv")
    measured = efficiencies(options.runs)
    runs, complete = read_runs(options.runs)
    status = 0 if complete else 2
    if not (runs or options.paper):
        return print_error(
            f"no finished run below {options.runs}: make one with python main.py, or name a "
            "folder with --runs"
        )
    if options.report:
        return report(options.report, runs, measured) or status
    if options.format == "csv":
        print_csv(runs)
    else:
        print_tables(runs, options, measured)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns the exit status.

    It is 0 if all was printed, 2 for bad input, nothing to print, or runs that cannot be read, and
    75 if interrupted.
    """
    return program.exit_status(
        lambda: perform(program.read(Options, "analyze.py", arguments)), "not all was printed"
    )


if __name__ == "__main__":
    interruption.listen()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `analyze.py | head` ends quietly
    sys.exit(main())
