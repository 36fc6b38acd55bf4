"""The means over a group of out-of-distribution sets, the near and the far ones.

OpenOOD's leaderboard shows these means.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from utils.metrics import LABELS

from .numbers import mean_cell
from .table import Table

GROUPS = {"near": "near-OOD", "far": "far-OOD"}
GROUP_OF_ROLE = {"near": "near", "far": "far", "very_far": "far"}  # so that no set is left out
METRICS = ("auroc", "fpr95_out")  # OpenOOD's FPR@95 has out-of-distribution as the positive class
TEMPERATURES = {"t1": "T = 1", "calibrated": "fitted T"}
OPENOOD = {"t1": "MSP", "calibrated": "TempScale"}  # its names for MPS at these temperatures
HEADS = ["method", "score", "n"]
HEADS += [f"{group} {LABELS[metric]}" for group in GROUPS.values() for metric in METRICS]


def has_near_and_far(record: Mapping[str, Any]) -> bool:
    """Return whether a record has near and far sets."""
    groups = {GROUP_OF_ROLE[entry["role"]] for entry in record["detection"].values()}
    return groups == set(GROUPS)


def mean_of_group(
    record: Mapping[str, Any], sets: Mapping[str, Mapping[str, float]], group: str, metric: str
) -> float:
    """Return the mean of a metric over the sets of a group. Every set counts the same.

    It is NaN if there is no such set, or if one lacks the metric.

    Args:
        record: a run's record, which has the roles of the sets.
        sets: set → metrics.
        group: "near" or "far".
        metric: such as "auroc".
    """
    values = [
        sets[source].get(metric, math.nan)
        for source, entry in record["detection"].items()
        if GROUP_OF_ROLE[entry["role"]] == group
    ]
    return sum(values) / len(values) if values else math.nan


def group_means(record: Mapping[str, Any], at: str) -> dict[str, float]:
    """Return the means of each group's metrics in percent, by the columns' heads.

    The score is the method's own.

    Args:
        record: a run's record.
        at: the score's temperature, "t1" or "calibrated".
    """
    sets = {
        source: entry["scores"][at][record["score"]]
        for source, entry in record["detection"].items()
    }
    return {
        f"{title} {LABELS[metric]}": 100 * mean_of_group(record, sets, group, metric)
        for group, title in GROUPS.items()
        for metric in METRICS
    }


def _rows(method: str, records: list[Mapping[str, Any]]) -> list[list[str]]:
    """Return a method's row at each temperature, or one row if they are equal."""
    score = records[0]["score"]
    tables = {}
    for at, temperature in TEMPERATURES.items():
        name = f"{score}, {temperature}"
        if score == "MPS":
            name += f" ({OPENOOD[at]})"
        tables[name] = [group_means(record, at) for record in records]
    cells = {
        name: [mean_cell([means[head] for means in table]) for head in table[0]]
        for name, table in tables.items()
    }
    first, second = cells.values()
    if first == second:
        cells = {score: first}
    return [[method, name, str(len(records)), *row] for name, row in cells.items()]


def near_far_table(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> Table:
    """Return each method's means, at T = 1 (as OpenOOD's scores) and at the fitted T.

    A number is the mean ± standard deviation over the method's runs. A score that does not depend
    on T has one row.

    Args:
        runs: each run's method and record; those without groups are left out.
    """
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for method, record in runs:
        if has_near_and_far(record):
            by_method.setdefault(method, []).append(record)
    rows = [row for method, records in by_method.items() for row in _rows(method, records)]
    return Table("means of near and far sets (FPR@95: OOD positive)", HEADS, rows)
