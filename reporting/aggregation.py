"""The main table: mean and standard deviation over seeds, beside the paper's own numbers."""

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiment import records, titles

from .bold import Best, best_of, best_of_runs
from .columns import Column, RunRow, columns_of, value_of
from .grouping import Part
from .paper import in_the_papers_order, paper, paper_name, paper_rows
from .runs import method_of, with_version
from .tables import BEST, mean_and_deviation, number, signed

# (network, method) → inference in percent of SoftMax's images/s.
Efficiencies = dict[tuple[str, str], float]
# Method → column's title → mean and standard deviation; NaN where there is none.
Numbers = dict[str, dict[str, tuple[float, float]]]


def efficiencies(folder: Path) -> Efficiencies:
    """Return the inference efficiencies that `benchmarks.inference --out` wrote into a folder.

    Raises ValueError for a damaged file.
    """
    path = folder / "efficiency.json"
    if not path.exists():
        return {}
    try:
        return {
            (row["network"], row["method"]): float(row["efficiency"])
            for row in records.read_json(path)["rows"]
        }
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}): measure again, or delete it"
        ) from error


def run_rows(record: Mapping[str, Any], measured: Efficiencies) -> list[RunRow]:
    """Return a run's row with its own score. If the paper has one with preprocessing, add that."""
    method, network, at = method_of(record), record["titles"]["model"], record["scores_at"]
    scores = {source: entry["scores"][at] for source, entry in record["detection"].items()}
    own = {source: metrics[record["score"]] for source, metrics in scores.items()}
    mps = {source: metrics["MPS"] for source, metrics in scores.items() if "MPS" in metrics}
    rows = [RunRow(method, record, measured.get((network, method), math.nan), own, mps)]
    preprocessing = record.get("detectors", {}).get("preprocessing", {})
    title = f"{method}, preprocessing"
    if "sets" in preprocessing and title in set(paper()["method"]):
        # Other constants than the default, and other versions, have rows of their own.
        constants = titles.constants("preprocessing", preprocessing)
        if constants.get("epsilon") != "chosen":
            title += titles.as_suffix(constants)
        title = with_version(title, "preprocessing", preprocessing.get("version", 1))
        efficiency = measured.get((network, title), math.nan)
        rows.append(RunRow(title, record, efficiency, preprocessing["sets"], {}))
    return rows


def rows_of(
    records: Iterable[Mapping[str, Any]],
    methods: Container[str] | None = None,
    measured: Efficiencies | None = None,
) -> list[RunRow]:
    """Return the rows of these runs, as `run_rows` does: of the given methods, or of all."""
    return [
        row
        for record in records
        for row in run_rows(record, measured or {})
        if methods is None or row.method in methods
    ]


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


def numbers_of_paper(rows: Mapping[str, Mapping[str, float]], columns: Sequence[Column]) -> Numbers:
    """Return the paper's mean and standard deviation of each method, from `paper_rows`."""
    return {
        method: {
            column.title: (
                row.get(column.paper, math.nan),
                row.get(f"{column.paper}_std", math.nan),
            )
            for column in columns
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


def main_table(
    parts: Sequence[Part],
    measured: Efficiencies,
    methods: Container[str] | None = None,
    bold: str = "test",
) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of a main table: ours, the paper's, and the difference.

    The best numbers are marked among the rows of one data set.

    Args:
        parts: the groups of runs.
        measured: inference efficiencies.
        methods: the rows to show, by their methods; by default all.
        bold: which of our numbers are bold, a key of `bold.RULES`.
    """
    columns = columns_of([record for part in parts for record in part.runs.values()])
    blocks = [_block(part, columns, measured, methods) for part in parts]
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
    for data in {part.group.data for part in parts}:
        same = [block for block in blocks if block.part.group.data == data]
        numbers, papers_numbers = _by_row(same, "ours"), _by_row(same, "paper")
        by_test = best_of_runs([row for block in same for row in block.rows], columns)
        ours |= as_texts(numbers, columns, by_test if bold == "test" else best_of(numbers, columns))
        papers |= as_texts(papers_numbers, columns, best_of(papers_numbers, columns))
    rows = [row for block in blocks for row in _rows(block, columns, ours, papers)]
    return ["method (runs)", *(column.title for column in columns)], rows


def _block(
    part: Part,
    columns: Sequence[Column],
    measured: Efficiencies,
    methods: Container[str] | None,
) -> _Block:
    """Return the numbers of a part of a main table: of the given methods, or of all."""
    rows = rows_of(part.runs.values(), methods, measured)
    ours = numbers_of_runs(rows, columns)
    shown = {paper_name(method) for method in ours}
    paper_numbers = {
        method: numbers
        for method, numbers in paper_rows(part.group.data, part.group.network).items()
        if methods is None or method in methods or method in shown
    }
    return _Block(
        part,
        [replace(row, method=row.method + part.suffix) for row in rows],
        ours,
        numbers_of_paper(paper_numbers, columns),
        Counter(row.method for row in rows),
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
