"""Compares two methods over the seeds of their runs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .statistics import Difference, paired_difference, welch_difference


class Comparison(NamedTuple):
    """The difference of two methods, and the runs that it is from."""

    difference: Difference
    runs: str  # how many, as a table shows it
    pairs: int  # of runs with the same seed; 0: Welch's test of all runs


def compare(a: Mapping[Any, float], b: Mapping[Any, float]) -> Comparison | None:
    """Return the difference a - b, or None if one of them has one run.

    Two or more common seeds are compared in pairs. Other runs are then left out. Methods with
    fewer common seeds are compared by Welch's test.

    Args:
        a, b: seed → number.
    """
    common = [seed for seed in a if seed in b]
    if len(common) > 1:
        difference = paired_difference([a[seed] for seed in common], [b[seed] for seed in common])
        return Comparison(difference, str(len(common)), len(common))
    if min(len(a), len(b)) < 2:
        return None
    difference = welch_difference([*a.values()], [*b.values()])
    return Comparison(difference, f"{len(a)} and {len(b)}, unpaired", 0)
