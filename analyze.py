#!/usr/bin/env python3
"""Prints the paper's tables from the records of runs.

A number is the mean ± standard deviation over seeds. The paper's own numbers stand beside ours.
"""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import shlex
import signal
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from tyro.conf import Positional

from reporting.aggregation import main_table
from reporting.beside import beside_table, read_published, source_lines
from reporting.bold import ONE_RUN, RULES, one_run_each
from reporting.cautions import cautions, split_by_precision
from reporting.choosing import choose_columns, choose_runs
from reporting.classification import classification_tables
from reporting.comparisons import comparison_table, refuse_unknown_method
from reporting.details import detail_tables
from reporting.grouping import RunTable, tables_of
from reporting.intervals import interval_tables
from reporting.latex import opening
from reporting.near_far import has_near_and_far, near_far_table
from reporting.printing import Printer, print_csv
from reporting.ranking import ranking, ranking_table
from reporting.reading import read_runs
from reporting.run_rows import Measured, efficiencies
from reporting.runs import Runs, group_runs
from reporting.table import Table
from reporting.text_table import STAR
from utils import program
from utils.output import deliver, print_error, print_line
from utils.plugins import WithPlugins


@dataclass(frozen=True)
class Options(WithPlugins):
    """Print the paper's tables from the records of all runs in or below some folders."""

    folders: Positional[tuple[Path, ...]] = ()
    """Where the runs are. Default: runs. Folders stand before --only, --columns and --group-by."""
    runs: Path | None = None
    """One more folder, named as for main.py."""
    format: Literal["table", "markdown", "latex", "csv"] = "table"
    """How to print. latex: a table environment each. csv: one row for each score, and all scores at
    both temperatures.
    """
    detail: bool = False
    """Print every score and metric of the test images and of each out-of-distribution set too. csv
    and --report always have them."""
    only: tuple[str, ...] = ()
    """Show only these methods, data sets or networks: names, as in the tables or on the command
    line of main.py, or parts of names. DisMax CIFAR-10 shows DisMax on CIFAR-10."""
    columns: tuple[str, ...] = ()
    """The columns of the main tables, in this order: names or parts of names, such as ACC ECE SVHN.
    """
    group_by: tuple[str, ...] = ()
    """Make one table of all runs that share these fields, such as data, network or epochs. The
    rows' names say what else differs. Default: all fields but method and seed."""
    paper: bool = False
    """Print all tables of the paper's Table 2, those without runs too."""
    beside: Path | None = None
    """A CSV file of published means over near and far sets: print them with ours. The form is that
    of results/published.csv."""
    bold: Literal["test", "paper"] = "test"
    """Which of our numbers are bold. test: the best mean, and those that a paired test over seeds
    does not find worse. paper: those within the best one's deviation, as in the paper.
    """
    compare: str | None = None
    """Print tests too: each method's difference from this method over seeds with its interval and
    p-value, ranks over OOD sets, and intervals over images for runs that keep their predictions.
    """
    report: Path | None = None
    """Write a page with the tables, figures and example images into this folder instead, and the
    figures as PNG and PDF.
    """

    @property
    def places(self) -> list[Path]:
        """The folders to search."""
        named = [*self.folders, *([self.runs] if self.runs else [])]
        return named or [Path("runs")]

    def check(self) -> None:
        """Raises ValueError for options that have no effect together."""
        other = "--report" if self.report else f"--format {self.format}"
        if self.report and self.format != "table":
            raise ValueError(
                f"--report writes a page, and --format {self.format} prints tables: leave one out"
            )
        for name in ("only", "columns", "group_by"):
            for text in getattr(self, name):
                if "/" in text and Path(text).is_dir():
                    option = name.replace("_", "-")
                    raise ValueError(f"--{option} {text}: name folders before --{option}")
        for name in ("columns", "group_by", "paper"):
            if getattr(self, name) and (self.report or self.format == "csv"):
                option = name.replace("_", "-")
                raise ValueError(f"{other} has no use for --{option}: leave one out")
        if self.beside and (self.report or self.format == "csv"):
            raise ValueError("--beside adds a table to the printed ones: leave out --report or csv")
        if self.compare is not None and (self.group_by or self.format == "csv"):
            other = "--group-by" if self.group_by else "--format csv"
            raise ValueError(f"{other} has no use for --compare: leave one out")
        if self.paper and self.group_by:
            raise ValueError(
                "--paper prints the paper's tables, and --group-by others: leave one out"
            )


def print_tables(tables: Sequence[RunTable], options: Options) -> None:
    """Print the tables: the main one of each; means; tests and details, if they are asked for."""
    shown = [part.rows for table in tables for part in table.parts]
    printer = Printer(options.format, RULES[options.bold])
    published = read_published(options.beside) if options.beside else None
    if options.beside and not any(
        has_near_and_far(run) for table in tables for _, run in table.named_runs
    ):
        print_line(
            "warning: --beside compares means of near and far sets, and no run has both: give them "
            "to --ood",
            sys.stderr,
        )
    mains = [main_table(table, options.bold) for table in tables]
    if options.columns:
        mains = choose_columns(mains, options.columns)
    for table, main_one in zip(tables, mains, strict=True):
        printer.print(main_one, how=table.how, brief=table.brief)
        if one_run_each(name for name, _ in table.named_runs):
            printer.note([ONE_RUN])
        means = near_far_table(table.named_runs)
        if means.rows:
            printer.print(means, f"{table.title}, ")
        if published is not None:
            print_beside(table, published, printer)
        print_supplements(table, options, printer)
    if options.compare is not None and any(shown):
        printer.print(ranking_table(ranking(shown)))
    if options.format == "table" and any(shown):
        rule = f"{STAR} or bold: {RULES[options.bold]}."
        printer.note([f"{rule} AUPR: average precision, OOD positive."])


def print_supplements(table: RunTable, options: Options, printer: Printer) -> None:
    """Print the tests and the details of a table's runs, if they are asked for."""
    supplements: list[Table] = []
    if options.compare is not None and table.parts[0].rows:
        supplements.append(comparison_table(table.parts[0].rows, options.compare))
        supplements += interval_tables(table.parts[0].runs)
    if options.detail:
        supplements += classification_tables(table.named_runs)
        supplements += detail_tables(table.named_runs)
    for each in supplements:
        printer.print(each, f"{table.title}: ")


def print_beside(table: RunTable, published: pd.DataFrame, printer: Printer) -> None:
    """Print published means beside those of each group of runs that has near and far sets."""
    for part in table.parts:
        if any(has_near_and_far(record) for _, record in part.named_runs):
            rows = beside_table(part.group, part.named_runs, published)
            printer.print(rows, f"{part.group.data_title}{part.suffix}, ")
            printer.note(source_lines(part.group, published))


def report(
    options: Options,
    folder: Path,
    runs: Runs,
    measured: Measured,
    methods: Container[str] | None,
) -> int:
    """Write the page. Returns the exit status: 0 written, 2 not possible, 75 interrupted."""
    try:
        from reporting.report import write_report  # needs PyTorch, for scores, and matplotlib

        return write_report(folder, runs, measured, methods, options.bold, options.compare or "")
    except ImportError as error:
        return print_error(f"--report lacks a package ({error}): pip install -r requirements.txt")
    except KeyboardInterrupt:
        return interruption.leave(f"{folder} may lack figures, or its page: run it again")


def perform(options: Options, arguments: Sequence[str]) -> int:
    """Print or write what the options, read from arguments, ask for. Returns the exit status.

    Raises ValueError or OSError for bad input.
    """
    options.check()
    measured = efficiencies(options.places)
    runs, complete = read_runs(options.places)
    status = 0 if complete else 2
    if not (runs or options.paper):
        return print_error(
            f"no finished run below {', '.join(map(str, options.places))}: make one with "
            "python main.py, or name another folder: python analyze.py FOLDER"
        )
    groups, methods = group_runs(runs, options.paper), None
    if options.only:
        groups, methods = choose_runs(groups, options.only)
        kept = {folder for members in groups.values() for folder in members}
        runs = {folder: record for folder, record in runs.items() if folder in kept}
    tables = tables_of(groups, options.group_by, methods, measured)
    if options.compare is not None:
        rows = [row for table in tables for part in table.parts for row in part.rows]
        refuse_unknown_method(rows, options.compare)
    if options.report:
        return report(options, options.report, runs, measured, methods) or status
    if options.format == "csv":
        print_csv(runs)
        return status
    if options.format == "latex":
        deliver(opening(shlex.join(["python", "analyze.py", *arguments])))
    print_tables(tables, options)
    for note in (split_by_precision(groups), *cautions(groups)):
        if note:
            print_line(f"note: {note}", sys.stderr)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns the exit status: 0 all is printed, 2 bad input, nothing to print, or
    runs that cannot be read, 75 interrupted.
    """
    return program.exit_status(
        lambda: perform(
            program.read(Options, "analyze.py", arguments),
            sys.argv[1:] if arguments is None else arguments,
        ),
        "not all was printed",
    )


if __name__ == "__main__":
    interruption.listen()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `analyze.py | head` ends quietly
    sys.exit(main())
