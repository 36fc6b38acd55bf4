"""Computes the numbers of curves and operating points, from arrays to arrays."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from losses.thresholds import percentiles, threshold_at
from utils.bins import BINS
from utils.failures import ood_risk_coverage
from utils.metrics import bin_of


def reliability(confidence: NDArray, correct: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the mean confidence, the accuracy and the share of images of each bin with images.

    The bins are those of the ECE: the sum of share · |accuracy - mean confidence| is the ECE.
    """
    bins = bin_of(confidence)
    count = np.bincount(bins, minlength=BINS)
    filled = count > 0
    mean_confidence = np.bincount(bins, confidence, BINS)[filled] / count[filled]
    accuracy = np.bincount(bins, correct, BINS)[filled] / count[filled]
    return mean_confidence, accuracy, count[filled] / len(confidence)


def roc(inside: NDArray, outside: NDArray, false_positive_rates: NDArray) -> NDArray:
    """Return the true-positive rate at each false-positive rate; in-distribution is positive.

    Between the points of the ROC curve it is interpolated linearly.

    Args:
        inside: in-distribution scores [N].
        outside: out-of-distribution scores [M].
        false_positive_rates: in [0, 1].
    """
    is_in = np.repeat([True, False], [len(inside), len(outside)])
    false_positives, true_positives, _ = roc_curve(is_in, np.concatenate([inside, outside]))
    return np.interp(false_positive_rates, false_positives, true_positives)


def risk(inside: NDArray, wrong: NDArray, outside: NDArray, coverages: NDArray) -> NDArray:
    """Return the risk at each coverage: the share of failures among the accepted images.

    A wrong answer to an in-distribution image is a failure, and so is every out-of-distribution
    image (Jaeger et al. 2023). Between the coverages k/N the risk is interpolated linearly.

    Args:
        inside: in-distribution scores [N].
        wrong: bool [N], whether the answers to these images are wrong.
        outside: out-of-distribution scores [M]; M is 0 for wrong answers alone.
        coverages: in (0, 1].
    """
    return np.interp(coverages, *ood_risk_coverage(inside, wrong, outside))


def threshold(calibration: NDArray, rate: float) -> float:
    """Return the threshold that a deployed network has, by which predict.py decides.

    Args:
        calibration: scores [N] of the images that set it.
        rate: the share of them that it accepts, at least.
    """
    return threshold_at(percentiles(torch.as_tensor(calibration)), rate)


def operating_point(
    calibration: NDArray, sets: Mapping[str, NDArray], rate: float
) -> dict[str, float]:
    """Return the share of each set that a threshold accepts.

    Args:
        calibration: the scores from which the threshold is taken.
        sets: scores by set.
        rate: as in `threshold`.
    """
    lowest = threshold(calibration, rate)
    return {name: float((values >= lowest).mean()) for name, values in sets.items()}
