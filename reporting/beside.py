"""Published results beside ours: the means over near and far sets that a CSV file names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from utils.metrics import LABELS

from .near_far import GROUPS, has_near_and_far, near_far_table
from .numbers import mean_cell, number
from .runs import Group
from .table import Table

NEAR, FAR = (f"{group} {LABELS['auroc']}" for group in GROUPS.values())
HEADS = ["method", "network", "n", "ACC %", NEAR, FAR, "from"]
TEXTS = ("data", "network", "method", "source", "date")
# Metric → whether each row needs it. Each has a column for its deviation too, which may be empty.
METRICS = {"accuracy": False, "near_auroc": True, "far_auroc": True}
OURS = "these runs"


def read_published(path: Path) -> pd.DataFrame:
    """Return published results: a row for each method, with means and deviations in percent.

    Its columns are `TEXTS`, `METRICS`, and a metric's name with `_std` for its deviation. Other
    columns are left out. A source says where the numbers can be read, and a date when they were.

    Raises ValueError, in one line, for a file that is no such table; OSError if it cannot be read.
    """
    columns = [*TEXTS, *(each for name in METRICS for each in (name, f"{name}_std"))]
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"--beside {path} is no CSV file ({reason})") from error
    if missing := [name for name in columns if name not in table]:
        raise ValueError(
            f"--beside {path} lacks the column {missing[0]}: it needs {', '.join(columns)}"
        )
    table = table[columns]
    for name in TEXTS:
        if (empty := table[name].str.strip() == "").any():
            raise ValueError(f"--beside {path}, line {_line(empty)}: write a {name}")
    for name in columns[len(TEXTS) :]:
        texts = table[name].str.strip()
        values = pd.to_numeric(texts, errors="coerce")
        bad = ~values.between(0, 100) & ((texts != "") | METRICS.get(name, False))
        if bad.any():
            raise ValueError(
                f"--beside {path}, line {_line(bad)}: {name} is a number from 0 to 100, got "
                f"{texts[bad].iloc[0]!r:.40}"
            )
        table = table.assign(**{name: values})
    return table


def _line(rows: pd.Series) -> int:
    """Return the line in the file of the first row that is true."""
    return int(rows.to_numpy().argmax()) + 2


def beside_table(
    group: Group, runs: Sequence[tuple[str, Mapping[str, Any]]], published: pd.DataFrame
) -> Table:
    """Return our means, then the published ones on the same data.

    Ours are those of `near_far_table`, with the accuracy. The networks of the others may differ.
    Their last cell is the number of their source.

    Args:
        group: of the runs.
        runs: the name of each run's row, and its record; those without groups are left out.
        published: of `read_published`.
    """
    rows = _our_rows(group, runs)
    same = _on_the_same_data(group, published)
    numbers = {source: place for place, source in enumerate(_sources(same), 1)}
    for row in same.to_dict("records"):
        cells = [number(row[name], row[f"{name}_std"]) for name in METRICS]
        mark = f"[{numbers[row['source'], row['date']]}]"
        rows.append([row["method"], row["network"], "", *cells, mark])
    return Table("beside published means", HEADS, rows)


def _our_rows(group: Group, runs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """Return the rows of our runs, each with its method and record."""
    accuracies: dict[str, list[float]] = {}
    for method, record in runs:
        if has_near_and_far(record):
            accuracy = record["classification"]["test"]["t1"]["accuracy"]
            accuracies.setdefault(method, []).append(100 * accuracy)
    rows = []
    means = near_far_table(runs)
    for row in means.rows:
        cells = dict(zip(means.heads, row, strict=True))
        accuracy = mean_cell(accuracies[cells["method"]])
        name = f"{cells['method']}, {cells['score']}"
        rows.append([name, group.network, cells["n"], accuracy, cells[NEAR], cells[FAR], OURS])
    return rows


def _on_the_same_data(group: Group, published: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the group's data, by its name or title: cifar10 is CIFAR-10 too."""
    names = {_letters(group.data), _letters(group.data_title)}
    return published[published["data"].map(_letters).isin(names)]


def _letters(name: str) -> str:
    return re.sub(r"\W", "", name).casefold()


def _sources(published: pd.DataFrame) -> list[tuple[str, str]]:
    """Return each source with its date once, in order of appearance."""
    return list(dict.fromkeys(zip(published["source"], published["date"], strict=True)))


def source_lines(group: Group, published: pd.DataFrame) -> list[str]:
    """Return a line for each source of `beside_table`, with its number there, or one that says that
    nothing is published for the group's data.
    """
    lines = [
        f"[{place}] {source} ({date})"
        for place, (source, date) in enumerate(_sources(_on_the_same_data(group, published)), 1)
    ]
    return lines or [f"The file has no rows for {group.data_title}."]
