"""A plugin for `analyze.py` with the numbers that choose and judge a variant, in percent.

"min d" is the score `smallest_distance` of ../schedule_or_capacity/mean_distance.py.
"""

from functools import partial
from statistics import mean

from reporting.columns import COLUMNS, Column, RunRow
from results.schedule_or_capacity.values import auroc, detector_auroc

# Score → the function that gets its AUROC on a set from a record.
SCORES = {
    "MMLES": partial(auroc, score="MMLES"),
    "min d": partial(detector_auroc, name="smallest_distance"),
}


def aurocs(row: RunRow, titles: tuple[str, ...], score: str) -> list[float]:
    """Return a score's AUROC on each set: of MMLES at the fitted temperature, or of min d."""
    return [100 * SCORES[score](title)(row.record) for title in titles]


def validation_accuracy(row: RunRow) -> float:
    """Return the accuracy on the held-out training images."""
    return 100 * row.record["best"]["accuracy"]


def choice(row: RunRow, score: str) -> float:
    """Return the mean of validation accuracy and the AUROCs on CIFAR-100 and SVHN."""
    return mean([validation_accuracy(row), *aurocs(row, ("CIFAR-100", "SVHN-crops"), score)])


def worst(row: RunRow, score: str) -> float:
    """Return the lower AUROC of those on TinyImageNet and on the scenes."""
    return min(aurocs(row, ("TinyImageNet-32", "Scenes-32"), score))


COLUMNS.append(Column("validation ACC %", validation_accuracy))
for name, value in (("choice", choice), ("worst", worst)):
    for score in SCORES:
        COLUMNS.append(Column(f"{name} [{score}]", partial(value, score=score)))
