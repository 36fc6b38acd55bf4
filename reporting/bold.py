"""Which numbers of a table are bold."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import fsum
from typing import Any

import pandas as pd

from .columns import Column, RunRow, values_by_seed
from .seeds import compare
from .statistics import LEVEL, holm

FEWEST = 3  # runs of a method that may be bold by the test
Best = dict[str, set[str]]  # column's title → the methods that are bold
# What bold means, by the value of --bold. The paper's own rows have the rule "paper".
RULES = {
    "test": "the best mean, and the means that a paired t test over seeds does not find worse "
    "(5 %, Holm's correction over all pairs of methods; Welch's test where two methods have fewer "
    "than two common seeds). A column in which it finds none worse has no bold number, nor has a "
    "method of fewer than three runs. The paper's rows: within the best one's standard deviation",
    "paper": "within the best one's standard deviation",
}
ONE_RUN = (
    "Each method has one run, so the spread over seeds is unknown. No difference between methods "
    "can be judged."
)


def one_run_each(methods: Iterable[str]) -> bool:
    """Return whether there are methods, and each has one run.

    Args:
        methods: each run's method.
    """
    return set(Counter(methods).values()) == {1}


def among_best(cells: Mapping[str, tuple[float, float]], lower_is_better: bool) -> set[str]:
    """Return the methods whose mean differs from the best mean by at most the best one's deviation.

    This is what the paper prints bold. A single method is not compared.

    Args:
        cells: mean and standard deviation by method.
        lower_is_better: whether the lowest mean is the best.
    """
    known = {method: cell for method, cell in cells.items() if not pd.isna(cell[0])}
    if len(known) < 2:
        return set()
    means = [mean for mean, _ in known.values()]
    best = min(means) if lower_is_better else max(means)
    deviations = [
        deviation for mean, deviation in known.values() if mean == best and not pd.isna(deviation)
    ]
    reach = max(deviations, default=0.0) + 1e-9
    return {method for method, (mean, _) in known.items() if abs(mean - best) <= reach}


def best_of(
    numbers: Mapping[str, Mapping[str, tuple[float, float]]], columns: Sequence[Column]
) -> Best:
    """Return the methods within the best one's deviation in each column: the paper's rule.

    Args:
        numbers: method → column's title → mean and standard deviation.
        columns: the table's columns.
    """
    return {
        column.title: among_best(
            {method: row[column.title] for method, row in numbers.items()}, column.lower_is_better
        )
        for column in columns
        if column.per_run
    }


def best_of_runs(rows: Sequence[RunRow], columns: Sequence[Column]) -> Best:
    """Return the methods of `best_by_test` in each column."""
    return {
        column.title: best_by_test(values_by_seed(rows, column), column.lower_is_better)
        for column in columns
        if column.per_run
    }


def best_by_test(values: Mapping[str, Mapping[Any, float]], lower_is_better: bool) -> set[str]:
    """Return the method of the best mean, and those that a test does not find worse at 5 %.

    The best is chosen by the same numbers that are tested. So the p-values are corrected for all
    pairs of methods, not only for those with the best. Without any difference between the methods,
    a column then has bold numbers in at most 5 % of the cases.

    Returns nothing if no method is found worse, or if the method of the best mean has fewer than
    `FEWEST` runs. A method with fewer runs is never returned: a test of two pairs finds a
    difference only if it is 9 times their standard deviation, so it would find nothing worse.
    """
    known = {method: numbers for method, numbers in values.items() if numbers}
    if not known:
        return set()
    sign = -1 if lower_is_better else 1
    best = max(known, key=lambda method: sign * fsum(known[method].values()) / len(known[method]))
    tested = [method for method, numbers in known.items() if len(numbers) >= FEWEST]
    tested.sort(key=lambda method: method != best)  # the best is the first of its pairs
    found = {
        pair: comparison.difference
        for pair in combinations(tested, 2)
        if (comparison := compare(known[pair[0]], known[pair[1]]))
    }
    corrected = holm([difference.p for difference in found.values()])
    worse = {
        other
        for ((first, other), difference), p in zip(found.items(), corrected, strict=True)
        # Over the common seeds alone the other mean may be better.
        if first == best and p < LEVEL and sign * difference.mean > 0
    }
    return set(tested) - worse if worse else set()
