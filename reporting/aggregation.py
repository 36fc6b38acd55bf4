"""The main table: mean and standard deviation over seeds, beside the paper's own numbers."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiment import records, titles

from .columns import Column, RunRow, columns_of
from .paper import in_the_papers_order, paper, paper_name, paper_rows
from .runs import Group, method_of, with_version
from .tables import BEST, among_best, mean_and_deviation, number, signed

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
    mean, deviation = mean_and_deviation(_value(column, row) for row in rows)
    return mean, deviation if column.per_run else math.nan


def _value(column: Column, row: RunRow) -> float:
    """Return a run's number; NaN if its record is older than the number."""
    try:
        return column.value(row)
    except KeyError:
        return math.nan


def numbers_of_paper(rows: Mapping[str, Mapping[str, float]], columns: list[Column]) -> Numbers:
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


def as_texts(numbers: Numbers, columns: Sequence[Column]) -> dict[str, list[str]]:
    """Return each method's cells as text; `BEST` marks those among a column's best."""
    texts: dict[str, list[str]] = {method: [] for method in numbers}
    for column in columns:
        cells = {method: row[column.title] for method, row in numbers.items()}
        best = among_best(cells, column.lower_is_better) if column.per_run else set()
        for method, (mean, deviation) in cells.items():
            mark = BEST if method in best else ""
            texts[method].append(number(mean, deviation, column.digits) + mark)
    return texts


def main_table(
    group: Group, members: Sequence[Mapping[str, Any]], measured: Efficiencies
) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of a group's main table: ours, the paper's, and the difference."""
    all_rows = [row for record in members for row in run_rows(record, measured)]
    columns = columns_of(members)
    ours = numbers_of_runs(all_rows, columns)
    paper_numbers = numbers_of_paper(paper_rows(group.data, group.network), columns)
    columns = [
        column
        for column in columns
        if any(
            not math.isnan(row[column.title][0])
            for row in (*ours.values(), *paper_numbers.values())
        )
    ]
    our_texts, paper_texts = as_texts(ours, columns), as_texts(paper_numbers, columns)
    runs = Counter(row.method for row in all_rows)
    rows = []
    for name in in_the_papers_order([*paper()["method"], *map(paper_name, ours)]):
        methods = [method for method in ours if paper_name(method) == name]
        rows += [[f"{method} (n={runs[method]})", *our_texts[method]] for method in methods]
        if name not in paper_numbers:
            continue
        if not methods:
            rows.append([f"{name} (no runs)", *("" for _ in columns)])
        rows.append(["· paper", *paper_texts[name]])
        for method in methods:
            rows.append(["· differ.", *_differences(ours[method], paper_numbers[name], columns)])
    return ["method (runs)", *(column.title for column in columns)], rows


def _differences(
    ours: Mapping[str, tuple[float, float]],
    theirs: Mapping[str, tuple[float, float]],
    columns: Sequence[Column],
) -> list[str]:
    """Return our mean minus the paper's in each column, as text."""
    return [
        signed(ours[column.title][0] - theirs[column.title][0], column.digits) for column in columns
    ]
