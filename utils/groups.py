"""The means over a group of out-of-distribution sets, the near and the far ones, as OpenOOD's leaderboard has them."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from .tables import number

GROUPS = {"near": "near-OOD", "far": "far-OOD"}
# OpenOOD takes out-of-distribution as the positive class of its FPR@95.
METRICS = {"auroc": "AUROC %", "fpr95_out": "FPR@95 %"}
HEADS = ["method", "n", *(f"{group} {metric}" for group in GROUPS.values() for metric in METRICS.values())]


def has_groups(record: Mapping[str, Any]) -> bool:
    """Whether a record has groups to speak of: two near sets or more, and two far ones."""
    roles = [found["role"] for found in record["detection"].values()]
    return all(roles.count(role) > 1 for role in GROUPS)


def group_means(record: Mapping[str, Any]) -> dict[str, float]:
    """Each group's metrics in percent by the columns' heads: the sets' mean, of the method's own score; each set counts alike."""
    at, score = record["scores_at"], record["score"]
    sets = {
        role: [found["scores"][at][score] for found in record["detection"].values() if found["role"] == role] for role in GROUPS
    }
    return {
        f"{group} {label}": 100 * sum(found[metric] for found in sets[role]) / len(sets[role])
        for role, group in GROUPS.items()
        for metric, label in METRICS.items()
    }


def group_rows(named: Iterable[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """A row a method, with `HEADS` above: mean ± standard deviation over its runs, of (method, record) that have groups."""
    table = pd.DataFrame([{"method": method} | group_means(record) for method, record in named if has_groups(record)])
    if table.empty:
        return []
    rows = []
    for method, runs in table.groupby("method", sort=False):
        values = [number(runs[head].mean(), runs[head].std(), head) for head in HEADS[2:]]
        rows.append([str(method), str(len(runs)), *values])
    return rows
