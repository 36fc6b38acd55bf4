"""Percentiles of in-distribution scores: thresholds for many true-positive rates, as one tensor."""

import math

import torch
from torch import Tensor

from .common import at_least_float32

# Those that a head stores.
PERCENTILES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 2, 3, 4, *range(5, 101, 5))


def no_thresholds() -> Tensor:
    """Return thresholds that are not set yet: NaN [len(PERCENTILES)]."""
    return at_least_float32(torch.full((len(PERCENTILES),), torch.nan))


def percentiles(in_scores: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the percentiles [len(PERCENTILES)] of in-distribution scores [N], a tensor or array.

    Each percentile is one of the scores, without interpolation. Raises ValueError if there are no
    scores, or if some are not finite.
    """
    scores = in_scores if isinstance(in_scores, Tensor) else torch.tensor(in_scores)
    ordered = at_least_float32(scores.flatten()).sort().values
    if not len(ordered) or not ordered.isfinite().all():
        raise ValueError("thresholds need one finite in-distribution score or more")
    # The position is rounded down, so that the share of scores at or above the threshold is at
    # least 1 - percentile/100.
    positions = [int((len(ordered) - 1) * percentile / 100) for percentile in PERCENTILES]
    return _rounded_down(ordered[positions], dtype)


def _rounded_down(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the scores in a precision, rounded down, so that each score reaches its own."""
    stored = exact.to(dtype)
    lower = stored.nextafter(torch.full_like(stored, -torch.inf))
    return torch.where(stored > exact, lower, stored)


def class_percentiles(in_scores: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Return percentiles of in-distribution scores for each predicted class [C, len(PERCENTILES)].

    They are those of a conformal predictor for each class (Mondrian: Vovk et al. 2003). For n
    scores the threshold is the k-th lowest, k = (n + 1) · percentile/100 rounded down. A new image
    of the same distribution reaches it with the probability 1 - k/(n + 1), which is 1 -
    percentile/100 or more. For k = 0 no score keeps this promise, and the lowest is taken. With few
    scores k matters, so this does not round as `percentiles` does. A class without scores has NaN.

    Args:
        in_scores: [N].
        predicted: the class of the largest logit [N].
        num_classes: C.
    """
    rows = torch.full((num_classes, len(PERCENTILES)), torch.nan, device=in_scores.device)
    for number in predicted.unique().tolist():
        ordered = at_least_float32(in_scores[predicted == number]).sort().values
        count = len(ordered)
        ranks = [int((count + 1) * percentile / 100 + 1e-9) for percentile in PERCENTILES]
        positions = [min(max(rank - 1, 0), count - 1) for rank in ranks]
        rows[number] = _rounded_down(ordered[positions], rows.dtype)
    return rows


def images_for(tpr: float) -> int:
    """Return how many scores a class needs, so that `class_percentiles` can promise this rate.

    Raises ValueError for a rate of 1, which no number can promise.
    """
    if tpr >= 1:
        raise ValueError(f"thresholds for each class need a tpr below 1, got {tpr}")
    return max(1, math.ceil(round(1 / (1 - tpr), 6)) - 1)


def class_thresholds_at(thresholds: Tensor, tpr: float) -> Tensor:
    """Return the thresholds [C] of `class_percentiles` with a true-positive rate of at least `tpr`.

    Raises ValueError for a rate outside [0, 1].
    """
    return thresholds[:, _position(tpr)]


def _position(tpr: float) -> int:
    """Return the position of the highest percentile with a true-positive rate of at least `tpr`.

    Raises ValueError for a rate outside [0, 1].
    """
    if not 0 <= tpr <= 1:
        raise ValueError(f"tpr is a rate in [0, 1], got {tpr}")
    return max(
        i for i, percentile in enumerate(PERCENTILES) if percentile <= 100 * (1 - tpr) + 1e-9
    )


def threshold_at(thresholds: Tensor, tpr: float) -> float:
    """Return the highest of these percentiles with a true-positive rate of at least `tpr`.

    Raises ValueError for a rate outside [0, 1], RuntimeError if the thresholds are not set.
    """
    value = float(thresholds[_position(tpr)])
    if math.isnan(value):
        raise RuntimeError(
            "no thresholds are set: call set_thresholds of the head, or of the score, first"
        )
    return value
