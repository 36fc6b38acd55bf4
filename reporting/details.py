"""The detail tables: every score's AUROC on all out-of-distribution sets, and its every metric on
each of them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from utils.metrics import DETECTION, LABELS

from .near_far import TEMPERATURES
from .numbers import mean_cell
from .runs import detector_title, group_of
from .table import Table

# Metric → column's head. FPR@95 is in the table of near and far means alone, since the entry of a
# detector may lack it.
DETAIL = {metric: label for metric, label in LABELS.items() if metric != "fpr95_out"}


def detail_rows(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return a row for each run, set, temperature and score; scores of detectors are at T = 1.

    The column `own` says whether it is at the temperature at which the run's tables show scores;
    for detectors it is always true. The column `scores_at` says which temperature that is.

    Args:
        runs: each run's method, or the name of its row, and its record.
    """
    rows = []
    for method, run in runs:
        group, test = group_of(run), run["classification"]["test"]
        # Runs of earlier versions lack it.
        wrong = run.get("misclassification", {"t1": {}, "calibrated": {}})
        for source, entry in run["detection"].items():
            results = [
                (at, score, at == run["scores_at"], metrics | _failures(wrong[at].get(score)))
                for at, scores in entry["scores"].items()
                for score, metrics in scores.items()
            ]
            for name, detector in run.get("detectors", {}).items():
                score = detector_title(name, detector)
                # A detector that is not applicable to the network has no sets.
                metrics = detector.get("sets", {}).get(source, {})
                failures = _failures(detector.get("misclassification"))
                results.append(("t1", score, True, metrics | failures))
            for at, score, own, metrics in results:
                row = {
                    "data": group.data_title,
                    "network": group.network,
                    "how": group.how,
                    "method": method,
                    "seed": run["config"]["seed"],
                    **{f"test_{metric}": value for metric, value in test[at].items()},
                    "set": entry["title"],
                    "source": source,
                    "at": at,
                    "score": score,
                    "own": own,
                    "scores_at": run["scores_at"],
                }
                rows.append(row | metrics)
    return pd.DataFrame(rows)


def _failures(metrics: Mapping[str, float | None] | None) -> dict[str, float]:
    """Return `misclassification_metrics` by the names of their columns; {} if there are none."""
    return {
        f"misclassification_{metric}": math.nan if value is None else value
        for metric, value in (metrics or {}).items()
    }


def _auroc_table(rows: pd.DataFrame) -> Table:
    """Return each score's AUROC on every set, at T = 1 and at the fitted T.

    A score has one row if the same numbers are printed at both. Detectors are at T = 1.

    Args:
        rows: those of `detail_rows`.
    """
    titles = rows.groupby("source", sort=False)["set"].first()
    table = []
    for (method, score), part in rows.groupby(["method", "score"], sort=False):
        names = {}  # cells of a row → what the score is called there
        for at, own in part.groupby("at", sort=False):
            sets = own.groupby("source")["auroc"]
            numbers = sets.apply(lambda values: mean_cell(100 * values) or "n/a")
            cells = (str(sets.count().max()), *numbers.reindex(titles.index, fill_value="n/a"))
            names.setdefault(cells, f"{score}, {TEMPERATURES[str(at)]}")
        if len(names) == 1:
            names = dict.fromkeys(names, score)
        table += [[str(method), str(name), *cells] for cells, name in names.items()]
    heads = ["method", "score", "n", *(f"{title} AUROC %" for title in titles)]
    return Table("AUROC of every score", heads, table)


def detail_tables(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Table]:
    """Yield a table of AUROCs, and one of all metrics for each set.

    In the tables of the sets, scores are at the temperature of the runs' tables. The name of a
    detector's score says that it is at T = 1, if the others are not.

    Args:
        runs: the name of each run's row, and its record.
    """
    rows = detail_rows(runs)
    if rows.empty:
        return
    yield _auroc_table(rows)
    rows.loc[rows["at"] != rows["scores_at"], "score"] += " (at T = 1)"
    for _, part in rows[rows["own"]].groupby("source", sort=False):
        # A record of an earlier version may lack a metric.
        labels = DETAIL | {name: metric.label for name, metric in DETECTION.items()}
        values = part.reindex(columns=list(labels))
        table = []
        for (method, score), own in values.groupby([part["method"], part["score"]], sort=False):
            cells = [mean_cell(column) or "n/a" for column in 100 * own.to_numpy().T]
            table.append([method, score, str(own["auroc"].count()), *cells])
        title = f"every score on {part['set'].iloc[0]}"
        yield Table(title, ["method", "score", "n", *labels.values()], table)
