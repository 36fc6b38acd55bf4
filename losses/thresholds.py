"""Percentiles of in-distribution scores: thresholds for many true-positive rates, as one tensor."""

import math

import torch
from torch import Tensor

from .common import at_least_float32

# Those that are kept.
PERCENTILES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 2, 3, 4, *range(5, 101, 5))


def no_thresholds() -> Tensor:
    """Return thresholds that are not set yet: NaN [len(PERCENTILES)]."""
    return torch.full((len(PERCENTILES),), torch.nan)


def percentiles(in_scores: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the percentiles [len(PERCENTILES)] of in-distribution scores [N], a tensor or array.

    Each percentile is one of the scores, without interpolation. Raises ValueError if there are no
    scores, or if some are not finite.
    """
    ordered = at_least_float32(torch.as_tensor(in_scores).flatten()).sort().values
    if not len(ordered) or not ordered.isfinite().all():
        raise ValueError("thresholds need one finite in-distribution score or more")
    # The position is rounded down, so that the share of scores at or above the threshold is at
    # least 1 - percentile/100.
    positions = [int((len(ordered) - 1) * percentile / 100) for percentile in PERCENTILES]
    exact = ordered[positions]
    stored = exact.to(dtype)
    # A score with more digits than the thresholds is rounded down too.
    lower = stored.nextafter(torch.full_like(stored, -torch.inf))
    return torch.where(stored > exact, lower, stored)


def threshold_at(thresholds: Tensor, tpr: float) -> float:
    """Return the highest of these percentiles with a true-positive rate of at least `tpr`.

    Raises ValueError for a rate outside [0, 1], RuntimeError if the thresholds are not set.
    """
    if not 0 <= tpr <= 1:
        raise ValueError(f"tpr is a rate in [0, 1], got {tpr}")
    highest = max(
        i for i, percentile in enumerate(PERCENTILES) if percentile <= 100 * (1 - tpr) + 1e-9
    )
    value = float(thresholds[highest])
    if math.isnan(value):
        raise RuntimeError(
            "this head has no thresholds: call set_thresholds(scores) with in-distribution "
            "scores first"
        )
    return value
