"""reporting/numbers.py: numbers as the paper prints them."""

import math

import pytest

from reporting.numbers import mean_and_deviation, number, signed


@pytest.mark.parametrize(
    ("mean", "deviation", "digits", "text"),
    [
        (95.23, 0.12, 1, "95.2±.1"),
        (95.23, 1.26, 1, "95.2±1.3"),
        (0.23, 0.12, 1, "0.2±.1"),
        (0.00452, 0.0021, 4, ".0045±.0021"),
        (98.6, math.nan, 0, "99"),
        (math.nan, 1.0, 1, ""),
    ],
)
def test_a_number_has_the_papers_form(mean, deviation, digits, text):
    assert number(mean, deviation, digits) == text


def test_the_mean_and_deviation_are_of_the_values_that_are_not_nan():
    mean, deviation = mean_and_deviation([1.0, math.nan, 2.0, 6.0])
    assert mean == 3
    assert deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert [math.isnan(value) for value in mean_and_deviation([5.0, math.nan])] == [False, True]
    assert all(map(math.isnan, mean_and_deviation([math.nan])))
    mean, deviation = mean_and_deviation([math.inf, 1.0])
    assert mean == math.inf
    assert math.isnan(deviation)


def test_a_difference_has_a_sign():
    assert [signed(value, 1) for value in (1, -0.25, math.nan)] == ["+1.0", "-0.2", ""]
