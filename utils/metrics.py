"""Metrics of classification, calibration and out-of-distribution detection.

They take arrays or CPU tensors, compute in float64, and return Python floats.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax

from .bins import BINS

# The label of each detection metric in tables, in which it is in percent.
LABELS = {
    "tnr95": "TNR@95 %",
    "auroc": "AUROC %",
    "aupr_in": "AUPR in %",
    "aupr_out": "AUPR out %",
    "dtacc": "DTACC %",
    "fpr95_out": "FPR@95 %",
}


class DetectionMetric(NamedTuple):
    """A further metric of detection."""

    label: str  # in tables, in which it is in percent
    # From in-distribution scores [N] and out-of-distribution scores [M], where higher is more
    # in-distribution, to a number in [0, 1].
    value: Callable[[NDArray, NDArray], float]


# Name in records → metric. Plugins add rows.
DETECTION: dict[str, DetectionMetric] = {}


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return the logits [N, C] in float64, and the labels [N].

    Raises ValueError for no images, shapes that do not match, labels outside 0 to C-1, or NaN.
    """
    values, classes = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or not len(values) or classes.shape != (len(values),):
        raise ValueError(
            f"need logits [N, C] and labels [N], N of 1 or more, got {list(values.shape)} and "
            f"{list(classes.shape)}"
        )
    if classes.min() < 0 or classes.max() >= values.shape[1]:
        raise ValueError(
            f"labels run from {classes.min()} to {classes.max()}, outside 0 to "
            f"{values.shape[1] - 1}"
        )
    if not np.isfinite(values).all():
        raise ValueError("the logits are not all finite")
    return values, classes


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """The share of images whose largest logit is that of their label. The first wins a tie."""
    values, classes = _checked(logits, labels)
    return float((values.argmax(1) == classes).mean())


def negative_log_likelihood(logits: ArrayLike, labels: ArrayLike) -> float:
    """The mean of -log p over images, p being the probability of the label; in nats."""
    values, classes = _checked(logits, labels)
    return float(-log_softmax(values, axis=1)[np.arange(len(classes)), classes].mean())


def brier_score(logits: ArrayLike, labels: ArrayLike) -> float:
    """The mean over images of the sum over classes of (p - one-hot)², in [0, 2] (Brier 1950)."""
    values, classes = _checked(logits, labels)
    difference = softmax(values, axis=1)
    difference[np.arange(len(classes)), classes] -= 1
    return float((difference**2).sum(1).mean())


def bin_of(confidence: NDArray) -> NDArray:
    """The ECE's bin of each confidence [N], from 0 to BINS - 1, as `utils.bins` defines them."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def expected_calibration_error(logits: ArrayLike, labels: ArrayLike) -> float:
    """The ECE: the mean over images of |accuracy - mean confidence| of their bin.

    Confidence is max p. The bins are those of `utils.bins`. (Naeini et al. 2015, Guo et al. 2017.)
    """
    values, classes = _checked(logits, labels)
    confidence = softmax(values, axis=1).max(1)
    # From the logits: probabilities may round away a small difference between them.
    correct = values.argmax(1) == classes
    sums = np.bincount(bin_of(confidence), correct - confidence, BINS)
    return float(np.abs(sums).sum() / len(classes))


def adaptive_calibration_error(logits: ArrayLike, labels: ArrayLike) -> float:
    """The ECE with bins that hold equally many images (Nguyen & O'Connor 2015).

    The images are sorted by their confidence max p, and cut into as many bins as the ECE has. The
    first bins have one image more if the number does not divide evenly. Images of equal confidence
    count with the share of right answers among them, so their order does not matter.
    """
    values, classes = _checked(logits, labels)
    confidence = softmax(values, axis=1).max(1)
    levels, level = np.unique(confidence, return_inverse=True)
    right = np.bincount(level, values.argmax(1) == classes) / np.bincount(level)
    # The sum of each level's gap, image by image in the order of confidence.
    gaps = (right - levels)[np.sort(level)]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, BINS)) / len(classes))


def class_wise_calibration_error(logits: ArrayLike, labels: ArrayLike) -> float:
    """The class-wise ECE: the mean over classes j of Σ_b n_b/N · |share_b - mean_b|.

    share_b is the share of the n_b images in bin b that are of class j, and mean_b is the mean of
    their p_j. Images are put into the bins of `utils.bins` by p_j. Classes without images count
    too. (Kull et al. 2019; Nixon et al. 2019 call it static calibration error.)
    """
    values, classes = _checked(logits, labels)
    probabilities = softmax(values, axis=1)
    total = 0.0
    for number, column in enumerate(probabilities.T):  # one at a time, which needs less memory
        total += np.abs(np.bincount(bin_of(column), (classes == number) - column, BINS)).sum()
    return float(total / probabilities.size)


def classification_metrics(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return accuracy, nll, ece, adaptive_ece, class_wise_ece and brier.

    Args:
        logits: [N, C], divided by the temperature.
        labels: classes [N].
    """
    return {
        "accuracy": accuracy(logits, labels),
        "nll": negative_log_likelihood(logits, labels),
        "ece": expected_calibration_error(logits, labels),
        "adaptive_ece": adaptive_calibration_error(logits, labels),
        "class_wise_ece": class_wise_calibration_error(logits, labels),
        "brier": brier_score(logits, labels),
    }


def highest_threshold(in_scores: ArrayLike, rate: float) -> float:
    """The highest threshold with at least this share of in-distribution scores at or above it."""
    scores = np.asarray(in_scores, dtype=np.float64).ravel()
    k = rank_at(rate, len(scores))
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])


def rank_at(rate: float, count: int) -> int:
    """The smallest number of images, 1 or more, that is at least this share of `count` images."""
    # Rounding comes first, because in floating point 0.55 * 100 is 55.00000000000001.
    return max(1, int(np.ceil(round(rate * count, 9))))


def checked_scores(in_scores: ArrayLike, out_scores: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return the scores [N] and [M] in float64. Raises ValueError for none, or non-finite ones."""
    inside, outside = (
        np.asarray(scores, dtype=np.float64).ravel() for scores in (in_scores, out_scores)
    )
    for name, values in (("in-distribution", inside), ("out-of-distribution", outside)):
        if not len(values) or not np.isfinite(values).all():
            raise ValueError(f"the {name} scores are empty or not all finite")
    return inside, outside


def detection_metrics(in_scores: ArrayLike, out_scores: ArrayLike) -> dict[str, float]:
    """Return how well scores tell in-distribution from out-of-distribution images.

    Args:
        in_scores: [N]; higher is more in-distribution.
        out_scores: [M].

    Returns, each in [0, 1]:
        auroc: the probability that an in-distribution score is above an out-of-distribution one;
            a tie counts half.
        aupr_in: the average precision if in-distribution is the positive class.
        aupr_out: the average precision if out-of-distribution is the positive class.
        tnr95: the share of out-of-distribution images that are rejected at the highest threshold
            that accepts at least 95 % of the in-distribution images. A score equal to the threshold
            is accepted.
        fpr95_in: 1 - tnr95, the false-positive rate at 95 % TPR if in-distribution is positive.
        fpr95_out: the share of in-distribution images that are rejected where at least 95 % of the
            out-of-distribution images are: the same if out-of-distribution is positive.
        dtacc: the detection accuracy, the best mean of TPR and TNR over all thresholds.
        And each metric of `DETECTION`.

    Raises ValueError for an empty set or non-finite scores.
    """
    # Imported here: it takes a second, and analyze.py needs only the labels.
    from sklearn.metrics import auc, average_precision_score, roc_curve

    inside, outside = checked_scores(in_scores, out_scores)
    is_in = np.concatenate([np.ones(len(inside), bool), np.zeros(len(outside), bool)])
    scores = np.concatenate([inside, outside])
    false_positives, true_positives, _ = roc_curve(is_in, scores, drop_intermediate=False)
    tnr95 = float((outside < highest_threshold(inside, 0.95)).mean())
    found = {
        "auroc": float(auc(false_positives, true_positives)),
        # Average precision is a sum, which rounding can make larger than 1.
        "aupr_in": min(1.0, float(average_precision_score(is_in, scores))),
        "aupr_out": min(1.0, float(average_precision_score(~is_in, -scores))),
        "tnr95": tnr95,
        "fpr95_in": 1 - tnr95,
        "fpr95_out": 1 - float((-inside < highest_threshold(-outside, 0.95)).mean()),
        "dtacc": float((true_positives + 1 - false_positives).max() / 2),
    }
    for name, metric in DETECTION.items():
        if name in found:
            raise ValueError(f"a plugin's metric is called {name}, as another is: rename it")
        # Copies, because a metric may sort its arguments.
        found[name] = float(metric.value(inside.copy(), outside.copy()))
        if not 0 <= found[name] <= 1:  # true for NaN
            raise ValueError(f"the metric {name} is a number in [0, 1], got {found[name]}")
    return found
