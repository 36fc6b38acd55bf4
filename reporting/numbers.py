"""Numbers as the paper prints them."""

import math
import statistics
from collections.abc import Iterable

import pandas as pd


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation (n - 1) of the values that are not NaN.

    The mean of no value, and the deviation of fewer than two, are NaN.
    """
    known = [value for value in values if not math.isnan(value)]
    mean = statistics.fmean(known) if known else math.nan
    spread = len(known) > 1 and math.isfinite(mean)  # a plugin's column may be infinite
    return mean, statistics.stdev(known) if spread else math.nan


def number(mean: float, deviation: float, digits: int = 1) -> str:
    """Return mean ± standard deviation as the paper prints it; "" for NaN.

    A deviation has no zero before the point. A mean has one only if it is printed to one digit.
    """
    if pd.isna(mean):
        return ""
    text = f"{mean:.{digits}f}"
    if not pd.isna(deviation):
        text += f"±{deviation:.{digits}f}".replace("±0.", "±.")
    return text.removeprefix("0") if digits > 1 else text


def mean_cell(values: Iterable[float], digits: int = 1) -> str:
    """Return the mean ± standard deviation of the values that are not NaN; "" if there is none."""
    return number(*mean_and_deviation(values), digits)


def signed(difference: float, digits: int) -> str:
    """Return a difference with its sign; "" for NaN."""
    return "" if pd.isna(difference) else f"{difference:+.{digits}f}"


def p_text(p: float) -> str:
    """Return a p-value as text: three digits, or "<.001"."""
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
