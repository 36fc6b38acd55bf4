"""Metrics against scikit-learn, results by hand, and brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import log_loss

from tests.utils.logits import random_logits
from utils.bins import BINS
from utils.metrics import (
    DETECTION,
    DetectionMetric,
    adaptive_calibration_error,
    bin_of,
    brier_score,
    class_wise_calibration_error,
    classification_metrics,
    detection_metrics,
    expected_calibration_error,
    negative_log_likelihood,
)

# Few different values, so that ties are common.
some_scores = arrays(
    np.float64, st.integers(1, 30), elements=st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6)
)


def brute_force(inside, outside):
    """The metrics by their definitions, over every threshold."""
    thresholds = [-math.inf, *np.unique(np.concatenate([inside, outside])), math.inf]
    tpr = np.array([(inside >= t).mean() for t in thresholds])
    tnr = np.array([(outside < t).mean() for t in thresholds])
    out_tpr = np.array([(outside <= t).mean() for t in thresholds])
    in_rejected = np.array([(inside <= t).mean() for t in thresholds])
    pairs = (inside[:, None] > outside).mean() + 0.5 * (inside[:, None] == outside).mean()
    return {
        "auroc": pairs,
        "tnr95": tnr[tpr >= 0.95 - 1e-12].max(),
        "fpr95_out": in_rejected[out_tpr >= 0.95 - 1e-12].min(),
        "dtacc": ((tpr + tnr) / 2).max(),
    }


@settings(max_examples=200, deadline=None)
@given(some_scores, some_scores)
def test_detection_metrics_follow_their_definitions(inside, outside):
    metrics = detection_metrics(inside, outside)
    for name, value in brute_force(inside, outside).items():
        assert metrics[name] == pytest.approx(value, abs=1e-9), name
    assert metrics["fpr95_in"] == pytest.approx(1 - metrics["tnr95"])
    assert all(0 <= value <= 1 for value in metrics.values())


@settings(max_examples=200, deadline=None)
@given(some_scores, some_scores)
def test_exchanging_the_sets_exchanges_the_positive_class(inside, outside):
    metrics = detection_metrics(inside, outside)
    exchanged = detection_metrics(-outside, -inside)
    assert exchanged["auroc"] == pytest.approx(metrics["auroc"])
    assert exchanged["aupr_in"] == pytest.approx(metrics["aupr_out"])
    assert exchanged["fpr95_in"] == pytest.approx(metrics["fpr95_out"])


def test_detection_metrics_of_six_scores():
    metrics = detection_metrics([3, 2, 1, 0], [1, -1])
    assert metrics["auroc"] == 6.5 / 8  # of 8 pairs 6 are right, one ties, one is wrong
    assert metrics["tnr95"] == 0.5  # the threshold is 0, which accepts all four
    # Threshold 2 accepts half of the in-distribution scores and rejects both others; threshold 0
    # accepts all and rejects one.
    assert metrics["dtacc"] == 0.75


def test_detection_metrics_of_equal_scores():
    equal = detection_metrics([1, 1, 1], [1])
    assert equal["auroc"] == equal["dtacc"] == 0.5
    assert (equal["aupr_in"], equal["aupr_out"]) == (0.75, 0.25)
    assert (equal["tnr95"], equal["fpr95_out"]) == (0.0, 1.0)


def test_at_least_95_percent_are_accepted():
    inside = np.arange(20.0)  # 19 of 20 are 95 % exactly
    assert detection_metrics(inside, [0.5])["tnr95"] == 1
    inside = np.arange(21.0)  # 19 of 21 are 90 %, 20 are 95.2 %
    assert detection_metrics(inside, [0.5, 1.5])["tnr95"] == 0.5


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf]])
def test_detection_refuses_empty_and_non_finite_scores(bad):
    with pytest.raises(ValueError, match="out-of-distribution scores are empty or not all finite"):
        detection_metrics([1.0], bad)


# High confidences, and confidences down to the first bins.
@pytest.mark.parametrize(("c", "spread"), [(4, 3.0), (30, 0.5)])
def test_classification_metrics_agree_with_scikit_learn(c, spread):
    logits, labels = random_logits(300, c, spread=spread)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    metrics = classification_metrics(logits, labels)
    assert metrics["accuracy"] == (p.argmax(1) == labels).mean()
    assert metrics["nll"] == pytest.approx(log_loss(labels, p, labels=range(c)))
    assert metrics["brier"] == pytest.approx(((p - np.eye(c)[labels]) ** 2).sum(1).mean())


@pytest.mark.parametrize(("c", "spread"), [(4, 3.0), (30, 0.5)])
def test_the_calibration_error_is_its_sum_over_bins(c, spread):
    logits, labels = random_logits(300, c, spread=spread)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, correct = p.max(1), p.argmax(1) == labels
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(logits, labels) == pytest.approx(expected)


# Made once with torch-uncertainty 0.13.0: AdaptiveCalibrationError and ClasswiseCalibrationError
# with 15 bins and norm l1.
@pytest.mark.parametrize(
    ("n", "c", "spread", "adaptive", "class_wise"),
    [(300, 4, 3.0, 0.2187982, 0.1233488), (302, 30, 0.5, 0.2522643, 0.0205899)],
)
def test_other_calibration_errors_are_those_of_torch_uncertainty(
    n, c, spread, adaptive, class_wise
):
    logits, labels = random_logits(n, c, spread=spread)
    assert adaptive_calibration_error(logits, labels) == pytest.approx(adaptive, abs=1e-6)
    assert class_wise_calibration_error(logits, labels) == pytest.approx(class_wise, abs=1e-6)


def test_the_order_of_equal_confidences_does_not_change_the_adaptive_error():
    # Two levels of confidence, and 15 bins of two images.
    unsure = np.repeat([[1.0, 0.0], [2.0, 0.0]], 15, axis=0)
    labels = np.repeat([0, 1, 0, 1], [10, 5, 12, 3])
    backwards = adaptive_calibration_error(unsure[::-1], labels[::-1])
    assert adaptive_calibration_error(unsure, labels) == backwards
    # Every bin but the middle one has images of one level, whose gap is that of the whole level.
    low, high = 10 / 15 - 1 / (1 + math.exp(-1)), 12 / 15 - 1 / (1 + math.exp(-2))
    expected = (14 * abs(low) + 14 * abs(high) + abs(low + high)) / 30
    assert backwards == pytest.approx(expected)


def test_the_class_wise_error_of_two_classes():
    # p of both classes is ½ for each image, but class 0 is right for all: a gap of ½ each.
    assert class_wise_calibration_error(np.zeros((4, 2)), [0] * 4) == pytest.approx(0.5)
    # With a third class of probability 0 that no image has, the mean is over three classes.
    three = np.column_stack([np.zeros((4, 2)), np.full(4, -1e4)])
    assert class_wise_calibration_error(three, [0] * 4) == pytest.approx(1 / 3)


SURE = np.array([[1e4, 0.0], [1e4, 0.0]])  # confidence exactly 1


def test_metrics_of_confidence_1():
    for error in (
        expected_calibration_error,
        adaptive_calibration_error,
        class_wise_calibration_error,
    ):
        assert error(SURE, [0, 0]) == 0
        assert error(SURE, [0, 1]) == 0.5
    assert negative_log_likelihood(SURE, [0, 1]) == 5e3
    assert brier_score(SURE, [1, 1]) == 2


def test_a_single_class_is_calibrated():
    assert expected_calibration_error(np.zeros((4, 1)), [0] * 4) == 0


def test_the_calibration_error_of_two_bins():
    # Confidences 1/20 and 1/10: the first two bins, whose gaps of +0.95 and -0.1 do not cancel.
    unsure = np.zeros((2, 20))
    unsure[1, 0] = math.log(19 / 9)
    assert expected_calibration_error(unsure, [0, 1]) == pytest.approx((0.95 + 0.1) / 2)


def test_metrics_refuse_bad_labels_and_logits():
    with pytest.raises(ValueError, match="outside 0 to 1"):
        expected_calibration_error(SURE, [0, 2])
    with pytest.raises(ValueError, match="not all finite"):
        expected_calibration_error(SURE * math.nan, [0, 0])


def test_bins_have_equal_width_and_are_closed_above():
    edges = np.arange(BINS + 1) / BINS
    assert bin_of(edges).tolist() == [0, *range(BINS)]
    assert bin_of(edges[:-1] + 1e-9).tolist() == [*range(BINS)]


def test_a_metric_that_sorts_its_arguments_changes_nothing(monkeypatch):
    def value(in_scores, out_scores):
        in_scores.sort()
        return 0.5

    scores = [np.array([3.0, 1.0, 2.0]), np.array([0.0, 1.5])]
    monkeypatch.setitem(DETECTION, "mine", DetectionMetric("Mine", value))
    assert detection_metrics(*scores)["mine"] == 0.5
    assert scores[0].tolist() == [3, 1, 2]
