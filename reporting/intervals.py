"""Bootstrap intervals over images, for each run that keeps its predictions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiment.records import PREDICTIONS

from .bootstrap import Interval, classification_intervals, detection_intervals
from .numbers import number
from .runs import Runs, method_of
from .table import Table

if TYPE_CHECKING:  # it imports PyTorch
    from .outcomes import Outcome

TEST_HEADS = ["method", "seed", "ACC %", "interval", "ECE", "interval"]
SET_HEADS = ["method", "seed", "set", "AUROC %", "interval", "FPR@95 %", "interval"]
NOTE = (
    "95 % bootstrap intervals of single runs: 1,000 resamples of the test images and of the OOD "
    "images. They say how far other images would change a number. They do not say how far another "
    "seed would. FPR@95: OOD is positive."
)


def interval_tables(members: Runs) -> Iterator[Table]:
    """Yield the tables of bootstrap intervals of the runs that keep their predictions.

    A note names the runs that do not, or whose predictions are damaged.
    """
    title = "intervals over images"
    if not any((folder / PREDICTIONS).exists() for folder in members):
        note = f"No intervals over images: no run keeps its {PREDICTIONS}."
        yield Table(title, TEST_HEADS, [], [note])
        return
    from .outcomes import load_each, load_outcome  # they import PyTorch

    def rows(folder: Path, record: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
        outcome = load_outcome(folder, record)
        return _test_row(outcome), _set_rows(outcome)

    loaded, lacking = load_each(members, rows)
    tests = [test for _, (test, _) in loaded]
    sets = [row for _, (_, rows_of_sets) in loaded for row in rows_of_sets]
    notes = [f"No intervals of {', '.join(runs)}: {reason}." for reason, runs in lacking.items()]
    if not tests:
        yield Table(title, TEST_HEADS, [], notes)
        return
    yield Table(title, TEST_HEADS, tests)
    yield Table(f"{title}, own score", SET_HEADS, sets, [NOTE, *notes])


def _test_row(outcome: "Outcome") -> list[str]:
    """Return a run's row below `TEST_HEADS`: accuracy, and ECE at the fitted temperature."""
    found = classification_intervals(outcome.confidences["calibrated"]["test"], outcome.correct)
    metrics = outcome.record["classification"]["test"]["calibrated"]
    cells = _cells(metrics, found, "accuracy", 1) + _cells(metrics, found, "ece", 4)
    return [*_names(outcome.record), *cells]


def _set_rows(outcome: "Outcome") -> list[list[str]]:
    """Return a run's row of each OOD set below `SET_HEADS`, with the run's own score."""
    rows, record = [], outcome.record
    for source, entry in record["detection"].items():
        found = detection_intervals(outcome.scores["test"], outcome.scores[source])
        metrics = entry["scores"][record["scores_at"]][record["score"]]
        cells = _cells(metrics, found, "auroc", 1) + _cells(metrics, found, "fpr95_out", 1)
        rows.append([*_names(record), entry["title"], *cells])
    return rows


def _names(record: Mapping[str, Any]) -> list[str]:
    """Return a run's method and seed."""
    return [method_of(record), str(record["config"]["seed"])]


def _cells(
    metrics: Mapping[str, float], found: Mapping[str, Interval], name: str, digits: int
) -> list[str]:
    """Return a metric and its interval as text. Metrics with one digit are in percent."""
    scale = 100 if digits == 1 else 1
    low, high = (number(scale * end, float("nan"), digits) for end in found[name])
    # A record of an earlier version may lack the metric.
    value = number(scale * metrics.get(name, float("nan")), float("nan"), digits)
    return [value, f"{low} to {high}"]
