"""The numbers of a run that this study compares, from its record."""

import math
from collections.abc import Callable, Mapping
from typing import Any

Record = Mapping[str, Any]


def accuracy(record: Record) -> float:
    """Return the test accuracy."""
    return record["classification"]["test"]["t1"]["accuracy"]


def auroc(title: str, score: str, at: str = "calibrated") -> Callable[[Record], float]:
    """Return the function that gets a score's AUROC on a set from a record."""

    def get(record: Record) -> float:
        sets = {entry["title"]: entry["scores"] for entry in record["detection"].values()}
        return sets[title][at][score]["auroc"]

    return get


def detector_auroc(title: str, name: str) -> Callable[[Record], float]:
    """Return the function that gets a detector's AUROC on a set from a record; NaN if it does not
    apply to the head.
    """

    def get(record: Record) -> float:
        sources = {entry["title"]: source for source, entry in record["detection"].items()}
        sets = record["detectors"][name].get("sets", {})
        return sets[sources[title]]["auroc"] if sets else math.nan

    return get
