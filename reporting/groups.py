"""The means over a group of out-of-distribution sets, the near and the far ones, as OpenOOD's
leaderboard has them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from .tables import number

GROUPS = {"near": "near-OOD", "far": "far-OOD"}
# OpenOOD takes out-of-distribution as the positive class of its FPR@95.
METRICS = {"auroc": "AUROC %", "fpr95_out": "FPR@95 %"}
TEMPERATURES = {"t1": "T = 1", "calibrated": "fitted T"}
OPENOOD = {"t1": "MSP", "calibrated": "TempScale"}  # its names for MPS at these temperatures
HEADS = ["method", "score", "n"]
HEADS += [f"{group} {metric}" for group in GROUPS.values() for metric in METRICS.values()]


def has_groups(record: Mapping[str, Any]) -> bool:
    """Whether a record has groups to speak of: two near sets or more, and two far ones."""
    roles = [found["role"] for found in record["detection"].values()]
    return all(roles.count(role) > 1 for role in GROUPS)


def group_means(record: Mapping[str, Any], at: str) -> dict[str, float]:
    """Each group's metrics of the method's own score at a temperature, by the columns' heads.

    They are in percent: the means of the group's sets, each of which counts alike.
    """
    detection, score = record["detection"].values(), record["score"]
    sets = {
        role: [found["scores"][at][score] for found in detection if found["role"] == role]
        for role in GROUPS
    }
    return {
        f"{group} {label}": 100 * sum(found[metric] for found in sets[role]) / len(sets[role])
        for role, group in GROUPS.items()
        for metric, label in METRICS.items()
    }


def _rows(method: str, records: list[Mapping[str, Any]]) -> list[list[str]]:
    """A method's row at each temperature, or one row if its score does not depend on it."""
    score = records[0]["score"]
    tables = {}
    for at, temperature in TEMPERATURES.items():
        said = f"{score}, {temperature}" + (f" ({OPENOOD[at]})" if score == "MPS" else "")
        tables[said] = pd.DataFrame([group_means(record, at) for record in records])
    first, second = tables.values()
    if first.equals(second):
        tables = {score: first}
    return [
        [method, said, str(len(table))]
        + [number(table[head].mean(), table[head].std(), head) for head in table]
        for said, table in tables.items()
    ]


def group_rows(named: Iterable[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """Each method's rows below `HEADS`: at T = 1, as OpenOOD takes its scores, and at the fitted T.

    A number is the mean ± standard deviation over the method's runs. A score that does not depend
    on T has one row.

    Args:
        named: each run's method and record; those without groups are left out.
    """
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for method, record in named:
        if has_groups(record):
            runs.setdefault(method, []).append(record)
    return [row for method, records in runs.items() for row in _rows(method, records)]
