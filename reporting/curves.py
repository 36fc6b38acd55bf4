"""The numbers of curves and operating points. Arrays come in and go out."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from utils.metrics import threshold_at


def reliability(
    confidence: NDArray, correct: NDArray, bins: int = 15
) -> tuple[NDArray, NDArray, NDArray]:
    """Mean confidence, accuracy and share of the images of each of the ECE's bins that holds any.

    Bins are of equal width and closed above, as `utils.metrics.expected_calibration_error` has
    them: the sum of share · |accuracy - mean confidence| is the ECE.
    """
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    held = count > 0
    sums = (
        np.bincount(which, values, bins)[held] / count[held] for values in (confidence, correct)
    )
    return *sums, count[held] / len(confidence)


def receiver_operating(inside: NDArray, outside: NDArray, false_positive_rates: NDArray) -> NDArray:
    """The true-positive rate at each false-positive rate: in-distribution positive, along the ROC
    curve's straight pieces.
    """
    is_in = np.repeat([True, False], [len(inside), len(outside)])
    found = roc_curve(is_in, np.concatenate([inside, outside]))
    return np.interp(false_positive_rates, found[0], found[1])


def operating_point(
    deciding: NDArray, sets: Mapping[str, NDArray], rate: float
) -> dict[str, float]:
    """The share of each set that is accepted at the threshold which accepts at least `rate` of the
    deciding scores.
    """
    threshold = threshold_at(deciding, rate)
    return {name: float((values >= threshold).mean()) for name, values in sets.items()}
