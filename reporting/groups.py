"""The means over a group of out-of-distribution sets, the near and the far ones.

OpenOOD's leaderboard shows these means.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from utils.metrics import LABELS

from .tables import mean_and_deviation, number

GROUPS = {"near": "near-OOD", "far": "far-OOD"}
METRICS = ("auroc", "fpr95_out")  # OpenOOD's FPR@95 has out-of-distribution as the positive class
TEMPERATURES = {"t1": "T = 1", "calibrated": "fitted T"}
OPENOOD = {"t1": "MSP", "calibrated": "TempScale"}  # its names for MPS at these temperatures
HEADS = ["method", "score", "n"]
HEADS += [f"{group} {LABELS[metric]}" for group in GROUPS.values() for metric in METRICS]


def has_groups(record: Mapping[str, Any]) -> bool:
    """Return whether a record has two or more near sets, and two or more far ones."""
    roles = [entry["role"] for entry in record["detection"].values()]
    return all(roles.count(role) > 1 for role in GROUPS)


def group_means(record: Mapping[str, Any], at: str) -> dict[str, float]:
    """Return the means of each group's metrics in percent, by the columns' heads.

    The score is the method's own. Every set of a group counts the same.

    Args:
        record: a run's record.
        at: the score's temperature, "t1" or "calibrated".
    """
    means = {}
    for role, group in GROUPS.items():
        sets = [
            entry["scores"][at][record["score"]]
            for entry in record["detection"].values()
            if entry["role"] == role
        ]
        for metric in METRICS:
            total = sum(metrics[metric] for metrics in sets)
            means[f"{group} {LABELS[metric]}"] = 100 * total / len(sets)
    return means


def _rows(method: str, records: list[Mapping[str, Any]]) -> list[list[str]]:
    """Return a method's row at each temperature, or one row if they are equal."""
    score = records[0]["score"]
    tables = {}
    for at, temperature in TEMPERATURES.items():
        name = f"{score}, {temperature}"
        if score == "MPS":
            name += f" ({OPENOOD[at]})"
        tables[name] = [group_means(record, at) for record in records]
    first, second = tables.values()
    if first == second:
        tables = {score: first}
    rows = []
    for name, table in tables.items():
        columns = [[means[head] for means in table] for head in table[0]]
        cells = [number(*mean_and_deviation(column)) for column in columns]
        rows.append([method, name, str(len(table)), *cells])
    return rows


def group_rows(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """Return each method's rows below `HEADS`, at T = 1 (as OpenOOD's scores) and at the fitted T.

    A number is the mean ± standard deviation over the method's runs. A score that does not depend
    on T has one row.

    Args:
        runs: each run's method and record; those without groups are left out.
    """
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for method, record in runs:
        if has_groups(record):
            by_method.setdefault(method, []).append(record)
    return [row for method, records in by_method.items() for row in _rows(method, records)]
