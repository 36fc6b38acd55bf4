"""The main table: mean and standard deviation over seeds, beside the paper's own numbers."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from .bold import Best, best_of, best_of_runs
from .columns import Column, RunRow, columns_of, value_of
from .grouping import Part, RunTable
from .numbers import mean_and_deviation, number, signed
from .paper import in_the_papers_order, paper_name
from .table import BEST, Table

# Method → column's title → mean and standard deviation; NaN where there is none.
Numbers = dict[str, dict[str, tuple[float, float]]]


def numbers_of_runs(rows: Sequence[RunRow], columns: Sequence[Column]) -> Numbers:
    """Return each method's mean and standard deviation (n - 1) over its runs."""
    by_method: dict[str, list[RunRow]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    return {
        method: {column.title: _number_of_runs(column, own_rows) for column in columns}
        for method, own_rows in by_method.items()
    }


def _number_of_runs(column: Column, rows: Sequence[RunRow]) -> tuple[float, float]:
    """Return the mean and standard deviation of a column over the runs of one method."""
    mean, deviation = mean_and_deviation(value_of(column, row) for row in rows)
    return mean, deviation if column.per_run else math.nan


def numbers_of_paper(
    rows: Mapping[str, Mapping[str, float]], columns: Sequence[Column], data: str
) -> Numbers:
    """Return the paper's mean and standard deviation of each method, from `paper_rows`.

    A column has no number for the data set that is its own OOD set: a table of networks of CIFAR-10
    and CIFAR-100 has a near column of each.
    """
    names = {column.title: column.paper if column.source != data else "" for column in columns}
    return {
        method: {
            title: (row.get(name, math.nan), row.get(f"{name}_std", math.nan))
            for title, name in names.items()
        }
        for method, row in rows.items()
    }


def as_texts(numbers: Numbers, columns: Sequence[Column], best: Best) -> dict[str, list[str]]:
    """Return each method's cells as text; `BEST` marks those among a column's best."""
    return {
        method: [
            number(*row[column.title], column.digits)
            + (BEST if method in best.get(column.title, ()) else "")
            for column in columns
        ]
        for method, row in numbers.items()
    }


class _Block(NamedTuple):
    """The numbers of one part of a main table, by method."""

    part: Part
    rows: list[RunRow]  # with the names of the table's rows
    ours: Numbers
    paper: Numbers
    runs: Counter[str]


def main_table(runs: RunTable, bold: str = "test") -> Table:
    """Return a main table: our numbers, the paper's, and the difference.

    The best numbers are marked among the rows of one data set.

    Args:
        runs: the groups of runs.
        bold: which of our numbers are bold, a key of `bold.RULES`.
    """
    columns = columns_of([row.record for part in runs.parts for row in part.rows])
    blocks = [_block(part, columns) for part in runs.parts]
    columns = [
        column
        for column in columns
        if any(
            not math.isnan(row[column.title][0])
            for block in blocks
            for row in (*block.ours.values(), *block.paper.values())
        )
    ]
    ours, papers = {}, {}
    for data in {part.group.data for part in runs.parts}:
        same = [block for block in blocks if block.part.group.data == data]
        numbers, papers_numbers = _by_row(same, "ours"), _by_row(same, "paper")
        by_test = best_of_runs([row for block in same for row in block.rows], columns)
        ours |= as_texts(numbers, columns, by_test if bold == "test" else best_of(numbers, columns))
        papers |= as_texts(papers_numbers, columns, best_of(papers_numbers, columns))
    rows = [row for block in blocks for row in _rows(block, columns, ours, papers)]
    return Table(runs.title, ["method (runs)", *(column.title for column in columns)], rows)


def _block(part: Part, columns: Sequence[Column]) -> _Block:
    """Return the numbers of a part of a main table."""
    return _Block(
        part,
        [replace(row, method=row.method + part.suffix) for row in part.rows],
        numbers_of_runs(part.rows, columns),
        numbers_of_paper(part.paper, columns, part.group.data),
        Counter(row.method for row in part.rows),
    )


def _by_row(blocks: Iterable[_Block], whose: Literal["ours", "paper"]) -> Numbers:
    """Return the numbers of several blocks by the names of their rows."""
    return {
        method + block.part.suffix: numbers
        for block in blocks
        for method, numbers in getattr(block, whose).items()
    }


def _rows(
    block: _Block,
    columns: Sequence[Column],
    our_texts: Mapping[str, list[str]],
    paper_texts: Mapping[str, list[str]],
) -> list[list[str]]:
    """Return the rows of one part of a main table, in the paper's order."""
    rows, suffix = [], block.part.suffix
    for name in in_the_papers_order([*block.paper, *map(paper_name, block.ours)]):
        methods = [method for method in block.ours if paper_name(method) == name]
        rows += [
            [f"{method}{suffix} (n={block.runs[method]})", *our_texts[method + suffix]]
            for method in methods
        ]
        if name not in block.paper:
            continue
        if not methods:
            rows.append([f"{name}{suffix} (no runs)", *("" for _ in columns)])
        rows.append(["· paper", *paper_texts[name + suffix]])
        for method in methods:
            differences = _differences(block.ours[method], block.paper[name], columns)
            rows.append(["· differ.", *differences])
    return rows


def _differences(
    ours: Mapping[str, tuple[float, float]],
    theirs: Mapping[str, tuple[float, float]],
    columns: Sequence[Column],
) -> list[str]:
    """Return our mean minus the paper's in each column, as text."""
    return [
        signed(ours[column.title][0] - theirs[column.title][0], column.digits) for column in columns
    ]
