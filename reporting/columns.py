"""The columns of the main table. A new column is one more `Column` in `COLUMNS`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from experiment.titles import of_sources
from utils.metrics import LABELS


@dataclass(frozen=True)
class RunRow:
    """One run in one row of the main table. Runs of the same method share a row."""

    method: str  # the row's name
    record: Mapping[str, Any]
    efficiency: float  # images/s of inference in percent of SoftMax's; NaN if not measured
    own: Mapping[str, Mapping[str, float]]  # OOD set → metrics of the row's own score
    mps: Mapping[str, Mapping[str, float]]  # OOD set → metrics of MPS; {} if unknown


@dataclass(frozen=True)
class Column:
    """A column of the main table. A column without any number is not printed."""

    title: str
    value: Callable[[RunRow], float]  # NaN if the run has none
    paper: str = ""  # the column's name in results/paper_table2.csv, if it is there
    digits: int = 1  # after the decimal point
    lower_is_better: bool = False
    per_run: bool = True  # False: measured once for a method, so it has no deviation and no best
    source: str = ""  # the column's OOD set, if it has one


COLUMNS = [
    Column("Eff %", lambda row: row.efficiency, "efficiency", digits=0, per_run=False),
    Column("ACC %", lambda row: 100 * _test(row, "t1")["accuracy"], "acc"),
    Column(
        "ECE", lambda row: _test(row, "calibrated")["ece"], "ece", digits=4, lower_is_better=True
    ),
]

# Role of an OOD set → the metric of its column.
METRIC_OF_ROLE = {"near": "aupr_out", "far": "auroc", "very_far": "aupr_out"}


class PaperSet(NamedTuple):
    """An OOD set of the paper's table."""

    label: str  # in the column's title
    role: str
    column: str  # the column's name in results/paper_table2.csv


PAPER_SETS = {
    "cifar10": PaperSet("near", "near", "near_aupr"),
    "cifar100": PaperSet("near", "near", "near_aupr"),
    "tinyimagenet_resize": PaperSet("Tiny- IN", "far", "tinyimagenet_auroc"),
    "lsun_resize": PaperSet("LSUN", "far", "lsun_auroc"),
    "svhn": PaperSet("SVHN", "very_far", "svhn_aupr"),
}
PAPER_ROLES = {(source, paper_set.role) for source, paper_set in PAPER_SETS.items()}


def _test(row: RunRow, at: str) -> Mapping[str, float]:
    """Classification metrics of the test images at a temperature: "t1" or "calibrated"."""
    return row.record["classification"]["test"][at]


def set_columns(source: str, label: str, role: str) -> list[Column]:
    """Return the columns of one OOD set: one, or two for a near set.

    It is not clear which score the paper's near column uses, so a near set has a column of the
    row's own score and one of MPS.
    """
    metric = METRIC_OF_ROLE[role]
    metric_label = LABELS[metric].replace(" out", "")  # AUPR in is in no column of this table
    paper_set = PAPER_SETS.get(source)
    # A run may give the set another role, and with it a metric that the paper does not have.
    paper = ""
    if paper_set and METRIC_OF_ROLE[paper_set.role] == metric:
        paper = paper_set.column

    def own(row: RunRow) -> float:
        return 100 * row.own[source][metric]

    def mps(row: RunRow) -> float:
        return 100 * row.mps[source][metric] if source in row.mps else math.nan

    columns = [Column(f"{label} {metric_label}", own, paper, source=source)]
    if role == "near":
        columns.append(Column(f"{label} [MPS] {metric_label}", mps, paper, source=source))
    return columns


def columns_of(records: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return the columns of a table: the fixed ones, and those of every OOD set of its runs.

    Without runs these are the columns of the paper's table.
    """
    if not records:
        columns = [
            set_columns(source, paper_set.label, paper_set.role)[0]
            for source, paper_set in PAPER_SETS.items()
        ]
        # CIFAR-10 and CIFAR-100 are each other's near set: they share a column, of both sets.
        columns = [replace(column, source="") for column in columns]
        return [*COLUMNS, *{column.title: column for column in columns}.values()]
    sets = dict.fromkeys(
        (source, entry["title"], entry["role"])
        for record in records
        for source, entry in record["detection"].items()
    )
    # A set that has another role in some runs keeps its own title: "near" would be wrong for it.
    others = {source for source, _, role in sets if (source, role) not in PAPER_ROLES}
    as_in_the_paper = PAPER_SETS.keys() - others
    labels = of_sources(
        {
            source: PAPER_SETS[source].label if source in as_in_the_paper else title
            for source, title, _ in sets
        }
    )
    columns = {column.title: column for column in COLUMNS}
    if len(columns) < len(COLUMNS):
        titles = [column.title for column in COLUMNS]
        twice = next(title for title in titles if titles.count(title) > 1)
        raise ValueError(f"two columns are called {twice!r}: rename the plugin's")
    for source, _, role in sets:
        # A set that is near in some runs and very far in others has the same column in both roles.
        columns |= {column.title: column for column in set_columns(source, labels[source], role)}
    return [*columns.values()]


def value_of(column: Column, row: RunRow) -> float:
    """Return a run's number; NaN if its record is older than the number."""
    try:
        return float(column.value(row))
    except KeyError:
        return math.nan
    except Exception as error:  # a plugin's function may raise anything
        raise ValueError(
            f"the column {column.title!r} fails ({type(error).__name__}: {error})"
        ) from error


def values_by_seed(rows: Sequence[RunRow], column: Column) -> dict[str, dict[Any, float]]:
    """Return each method's number of a column by seed, without NaN.

    Runs of a method with the same seed, such as two networks in one row, count with their mean.
    """
    found: dict[str, dict[Any, list[float]]] = {}
    for row in rows:
        by_seed = found.setdefault(row.method, {})
        if not math.isnan(value := value_of(column, row)):
            by_seed.setdefault(row.record["config"]["seed"], []).append(value)
    return {
        method: {seed: math.fsum(each) / len(each) for seed, each in by_seed.items()}
        for method, by_seed in found.items()
    }
