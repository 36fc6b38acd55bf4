"""The detail tables of the test images: calibration, and how well scores refuse failures."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from utils.failures import LABELS

from .near_far import GROUPS, TEMPERATURES, mean_of_group
from .numbers import mean_cell
from .runs import detector_title
from .table import Table

# Metric of a classification → the column's head, and digits after the decimal point.
CALIBRATION = {
    "nll": ("NLL", 3),
    "brier": ("Brier", 3),
    "ece": ("ECE", 4),
    "adaptive_ece": ("adaptive ECE", 4),
    "class_wise_ece": ("class-wise ECE", 4),
}
FAILURES = [*LABELS.values(), *(f"{group} AURC %" for group in GROUPS.values())]
FAILURES_TITLE = (
    "Failures: wrong answers to test images; the near-OOD and far-OOD AURC count OOD images as "
    "failures too"
)
Values = dict[tuple[str, str], list[list[float]]]  # row and second cell → numbers of each run


def classification_tables(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Table]:
    """Yield the tables of some runs. A table without any number is left out.

    A number is the mean ± standard deviation over the runs of a row.

    Args:
        runs: the name of each run's row, and its record.
    """
    heads = [head for head, _ in CALIBRATION.values()]
    digits = [digits for _, digits in CALIBRATION.values()]
    calibration = _rows(_calibration(runs), digits)
    if calibration:
        heads = ["method", "T", "n", *heads]
        yield Table("Calibration of the test images", heads, calibration)
    failures = _rows(_failures(runs), [2 if "AURC" in head else 1 for head in FAILURES])
    if failures:
        yield Table(FAILURES_TITLE, ["method", "score", "n", *FAILURES], failures)


def _calibration(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> Values:
    """Return the metrics of `CALIBRATION` by row and temperature."""
    values: Values = {}
    for method, record in runs:
        for at, temperature in TEMPERATURES.items():
            found = record["classification"]["test"][at]
            row = [found.get(metric, math.nan) for metric in CALIBRATION]
            values.setdefault((method, temperature), []).append(row)
    return values


def _failures(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> Values:
    """Return the metrics of `FAILURES` by row and score, in percent.

    Scores are at the temperature of the run's tables. The name of a detector's score says that it
    is at T = 1, if the others are not.
    """
    values: Values = {}
    for method, record in runs:
        at = record["scores_at"]
        for score, found in record.get("misclassification", {}).get(at, {}).items():
            sets = {name: entry["scores"][at][score] for name, entry in record["detection"].items()}
            values.setdefault((method, score), []).append(_failure_row(record, found, sets))
        for name, detector in record.get("detectors", {}).items():
            if "misclassification" not in detector:
                continue
            title = detector_title(name, detector)
            title += "" if at == "t1" else " (at T = 1)"
            row = _failure_row(record, detector["misclassification"], detector["sets"])
            values.setdefault((method, title), []).append(row)
    return values


def _failure_row(
    record: Mapping[str, Any], found: Mapping[str, Any], sets: Mapping[str, Mapping[str, float]]
) -> list[float]:
    """Return the metrics of one score of one run, in percent; NaN if it has none.

    Args:
        record: the run's record.
        found: the score's `misclassification_metrics`.
        sets: OOD set → the score's metrics.
    """
    row = [math.nan if found[metric] is None else found[metric] for metric in LABELS]
    row += [mean_of_group(record, sets, group, "aurc") for group in GROUPS]
    return [100 * value for value in row]


def _rows(values: Values, digits: Sequence[int]) -> list[list[str]]:
    """Return a table's rows: the two names, the number of runs, and the numbers as text."""
    rows = []
    for names, runs in values.items():
        cells = [
            mean_cell(column, each) or "n/a"
            for column, each in zip(zip(*runs, strict=True), digits, strict=True)
        ]
        rows.append([*names, str(len(runs)), *cells])
    return rows
