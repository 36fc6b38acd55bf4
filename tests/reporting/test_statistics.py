"""reporting/statistics.py: against SciPy's tests, published tables, and simulated seeds."""

import itertools

import numpy as np
import pytest
from scipy import stats

from reporting import statistics


@pytest.mark.parametrize("pairs", [2, 3, 5, 40])
def test_the_paired_difference_is_that_of_scipy(pairs):
    a, b = np.random.default_rng(pairs).normal(size=(2, pairs))
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    found = statistics.paired_difference(a, b)
    assert found.mean == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue)


def test_welchs_difference_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=3), rng.normal(0.5, 4, size=5)
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    found = statistics.welch_difference(a, b)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("test", [statistics.paired_difference, statistics.welch_difference])
def test_differences_without_spread_show_nothing(test):
    for values in ([1, 1, 1], [3, 3, 3]):
        assert test(values, [1, 1, 1]) == (values[0] - 1, -np.inf, np.inf, 1)
    assert statistics.paired_difference([0.3, 0.4, 0.9], [0.2, 0.3, 0.8]).p == 1  # up to rounding


def test_one_run_has_no_test():
    with pytest.raises(ValueError, match=r"two or more pairs, got values \[1\] and \[1\]"):
        statistics.paired_difference([1], [2])
    with pytest.raises(ValueError, match=r"two or more pairs, got values \[3\] and \[2\]"):
        statistics.paired_difference([1, 2, 3], [2, 3])
    with pytest.raises(ValueError, match="two or more values of each, got 3 and 1"):
        statistics.welch_difference([1, 2, 3], [2])


def test_the_reach_is_half_the_interval_in_deviations_of_the_differences():
    differences = np.array([1.0, 2.5, 7.0])
    found = statistics.paired_difference(differences, np.zeros(3))
    half = (found.high - found.low) / 2
    assert half / differences.std(ddof=1) == pytest.approx(statistics.reach(3))
    assert [round(statistics.reach(n), 2) for n in (2, 3, 5)] == [8.98, 2.48, 1.24]


def test_a_paired_interval_of_three_seeds_holds_the_true_difference_in_95_percent():
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=(2000, 3))  # what both methods share
    a, b = (seeds + rng.normal(shift, 1, (2000, 3)) for shift in (0.5, 0.0))
    intervals = [statistics.paired_difference(*pair) for pair in zip(a, b, strict=True)]
    assert np.mean([found.low <= 0.5 <= found.high for found in intervals]) == pytest.approx(
        0.95, abs=0.015
    )


def test_holms_values_are_those_of_its_steps():
    # (3 · .01, 2 · .03, and .04, which is raised to the value before it.)
    assert statistics.holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_ranks_begin_with_the_best_and_equal_values_share_them():
    values = [[0.9, 0.8, 0.9, 0.1]]
    assert statistics.ranks(values).tolist() == [[1.5, 3, 1.5, 4]]


def friedmans_statistic(values):
    """Demšar's (2006) equation, for values without ties."""
    n, k = np.shape(values)
    means = statistics.ranks(values).mean(0)
    return 12 * n / (k * (k + 1)) * ((means**2).sum() - k * (k + 1) ** 2 / 4)


def test_friedmans_p_for_few_blocks_is_the_share_of_all_rankings():
    orders = [*itertools.product(itertools.permutations((1.0, 2.0, 3.0)), repeat=4)]
    found = np.array([friedmans_statistic(blocks) for blocks in orders])
    for values in (orders[0], orders[100], orders[777]):
        expected = np.mean(found >= friedmans_statistic(values) - 1e-9)
        assert statistics.friedman(values) == pytest.approx(expected)
    assert statistics.friedman(orders[0]) == pytest.approx(6 / 6**4)  # all blocks rank alike


def test_friedmans_p_for_many_blocks_is_that_of_the_chi_square():
    values = np.random.default_rng(2).normal([0, 0, 0.4, 0], size=(40, 4))
    expected = stats.chi2.sf(friedmans_statistic(values), 3)
    assert 0.01 < expected < 0.5
    assert statistics.friedman(values) == pytest.approx(expected, abs=0.01)
    assert statistics.friedman(np.ones((3, 3))) == 1
    with pytest.raises(ValueError, match=r"N ≥ 2 and k ≥ 3, got \[4, 2\]"):
        statistics.friedman(values[:4, :2])


# Demšar (2006), table 5a. It cuts the numbers after three decimals.
@pytest.mark.parametrize(
    ("methods", "q"),
    [*enumerate((1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164), 2)],
)
def test_the_critical_difference_has_demsars_values(methods, q):
    blocks = 14
    unit = np.sqrt(methods * (methods + 1) / (6 * blocks))
    assert statistics.critical_difference(methods, blocks) / unit == pytest.approx(q, abs=1e-3)
