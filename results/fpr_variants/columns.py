"""A plugin for `analyze.py` with the numbers that choose and judge a variant, in percent.

"min d" is the score `smallest_distance` of ../schedule_or_capacity/mean_distance.py.
"""

from functools import partial
from statistics import mean

from reporting.columns import COLUMNS, Column, RunRow


def auroc(row: RunRow, title: str, score: str) -> float:
    """Return a score's AUROC on a set: of MMLES at the fitted temperature, or of min d."""
    for source, entry in row.record["detection"].items():
        if entry["title"] == title:
            if score == "MMLES":
                return 100 * entry["scores"]["calibrated"]["MMLES"]["auroc"]
            return 100 * row.record["detectors"]["smallest_distance"]["sets"][source]["auroc"]
    raise KeyError(title)


def validation_accuracy(row: RunRow) -> float:
    """Return the accuracy on the held-out training images."""
    return 100 * row.record["best"]["accuracy"]


def choice(row: RunRow, score: str) -> float:
    """Return the mean of validation accuracy and the AUROCs on CIFAR-100 and SVHN."""
    aurocs = (auroc(row, title, score) for title in ("CIFAR-100", "SVHN-crops"))
    return mean([validation_accuracy(row), *aurocs])


def worst(row: RunRow, score: str) -> float:
    """Return the lower AUROC of those on TinyImageNet and on the scenes."""
    return min(auroc(row, title, score) for title in ("TinyImageNet-32", "Scenes-32"))


COLUMNS.append(Column("validation ACC %", validation_accuracy))
for name, value in (("choice", choice), ("worst", worst)):
    for score in ("MMLES", "min d"):
        COLUMNS.append(Column(f"{name} [{score}]", partial(value, score=score)))
