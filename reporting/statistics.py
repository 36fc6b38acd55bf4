"""Tests of differences between methods: over seeds, and of ranks over data sets."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# scipy.special has the same functions as scipy.stats, which takes longer to import than all else
# that analyze.py needs.
from scipy.special import stdtr, stdtrit

LEVEL = 0.05  # a difference with a smaller p-value is significant
RANKINGS = 20_000  # that Friedman's test looks at
NO_SPREAD = 1e-12  # a smaller standard error is of values that differ by rounding alone


class Difference(NamedTuple):
    """A mean difference a - b, with its test. The interval is the 95 % t interval."""

    mean: float
    low: float
    high: float
    p: float  # two-sided, of the hypothesis that the expected difference is 0


def paired_difference(a: ArrayLike, b: ArrayLike) -> Difference:
    """Return the difference of paired values, with the paired t test (Student 1908).

    Its t has n - 1 degrees of freedom, and its standard error is that of the n differences: their
    standard deviation over √n. Differences that are all equal have no spread to judge by: p is 1,
    and the interval has no ends.

    Args:
        a, b: [n]; values of the same place belong together, such as those of one seed.

    Raises ValueError for fewer than two pairs, or shapes that differ.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            f"need two or more pairs, got values {list(first.shape)} and {list(second.shape)}"
        )
    differences = first - second
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return _tested(float(differences.mean()), error, len(differences) - 1)


def welch_difference(a: ArrayLike, b: ArrayLike) -> Difference:
    """Return the difference of the means of unpaired values, with Welch's t test (Welch 1947).

    Args:
        a, b: [n] and [m]; their variances may differ.

    Raises ValueError for fewer than two values in one of them.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(first.size, second.size) < 2:
        raise ValueError(
            f"need two or more values of each, got {first.size} and {second.size} of them"
        )
    parts = [values.var(ddof=1) / values.size for values in (first, second)]
    squares = sum(
        part**2 / (values.size - 1) for part, values in zip(parts, (first, second), strict=True)
    )
    freedom = sum(parts) ** 2 / squares if squares else 1.0  # without any spread it does not matter
    return _tested(float(first.mean() - second.mean()), math.sqrt(sum(parts)), float(freedom))


def _tested(mean: float, error: float, freedom: float) -> Difference:
    """Return a mean difference with its t interval and p-value, from its standard error."""
    if error < NO_SPREAD:  # nothing to judge by: coarse numbers can be equal by chance
        return Difference(mean, -math.inf, math.inf, 1.0)
    half = float(stdtrit(freedom, 1 - LEVEL / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(mean) / error))
    return Difference(mean, mean - half, mean + half, p)


def reach(pairs: int) -> float:
    """Half the width of the paired t interval, in standard deviations of the differences.

    A mean difference that is smaller is not significant. It is 8.98 for two pairs, 2.48 for three
    and 1.24 for five.
    """
    return float(stdtrit(pairs - 1, 1 - LEVEL / 2)) / math.sqrt(pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several tests, corrected by Holm's method (Holm 1979).

    If no hypothesis is false, the chance that any corrected value is below 5 % is at most 5 %.
    """
    count, largest = len(p_values), 0.0
    corrected = [0.0] * count
    for place, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (count - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def ranks(values: ArrayLike) -> NDArray:
    """Return the rank of each method in each block, 1 for the highest. Equal ones share the mean.

    Args:
        values: [N, k], a row for each of N blocks (data sets), a column for each of k methods.
    """
    from scipy.stats import rankdata

    return rankdata(-np.asarray(values, dtype=np.float64), axis=1)


def friedman(values: ArrayLike) -> float:
    """Return the p-value of Friedman's test: whether all methods rank alike (Friedman 1937).

    It is the share of rankings, among all (k!)^N that are possible if the methods are equal, whose
    mean ranks differ as much or more. If there are more than `RANKINGS` of them, it is the share
    among so many random ones, always the same. (χ² would be wrong for few blocks: with three
    methods and four blocks it calls 6.9 % significant at 5 %.)

    Args:
        values: [N, k], a row for each block, a column for each method.

    Raises ValueError for fewer than two blocks or three methods.
    """
    from scipy.stats import permutation_test

    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 2 or numbers.shape[0] < 2 or numbers.shape[1] < 3:
        raise ValueError(f"need values [N, k], N ≥ 2 and k ≥ 3, got {list(numbers.shape)}")

    def spread(*ranks_of_methods: NDArray, axis: int) -> NDArray:
        return np.var([values.sum(axis) for values in ranks_of_methods], axis=0)

    found = permutation_test(
        tuple(ranks(numbers).T),
        spread,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RANKINGS,
        batch=1000,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def critical_difference(methods: int, blocks: int) -> float:
    """Return Nemenyi's critical difference of mean ranks at 5 % (Nemenyi 1963).

    It is q/√2 · √(k(k + 1)/(6N)) for k methods and N blocks, q being the studentized range of k
    means with infinite degrees of freedom (Demšar 2006, table 5). Two methods whose mean ranks
    differ by less are not told apart.
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))
