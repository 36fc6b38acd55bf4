"""reporting/bootstrap.py: against plain loops, and the share of intervals that hold the truth."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm

from reporting import bootstrap
from utils import metrics


def test_a_detection_interval_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(1, 1, 60).round(1), rng.normal(0, 1, 90).round(1)  # with ties
    rng = np.random.default_rng(bootstrap.SEED)
    resampled = []
    for _ in range(bootstrap.RESAMPLES):
        chosen = (part[rng.integers(len(part), size=len(part))] for part in (inside, outside))
        resampled.append(metrics.detection_metrics(*chosen))
    for metric, interval in bootstrap.detection_intervals(inside, outside).items():
        expected = np.quantile([found[metric] for found in resampled], [0.025, 0.975])
        assert interval == pytest.approx(expected), metric


def test_classification_intervals_are_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(80, 3)), rng.integers(3, size=80)
    rng = np.random.default_rng(bootstrap.SEED)
    resampled = []
    for _ in range(bootstrap.RESAMPLES):
        images = rng.integers(80, size=80)
        resampled.append(metrics.classification_metrics(logits[images], labels[images]))
    found = bootstrap.classification_intervals(
        softmax(logits, axis=1).max(1), logits.argmax(1) == labels
    )
    expected = np.quantile([numbers["accuracy"] for numbers in resampled], [0.025, 0.975])
    assert found["accuracy"] == pytest.approx(expected)
    high, low = np.quantile([numbers["ece"] for numbers in resampled], [0.025, 0.975])
    own = metrics.expected_calibration_error(logits, labels)
    assert found["ece"] == pytest.approx((max(0, 2 * own - low), 2 * own - high))


def test_the_same_images_have_the_same_interval():
    inside, outside = np.random.default_rng(0).normal(size=(2, 50))
    first = bootstrap.detection_intervals(inside, outside)
    assert bootstrap.detection_intervals(inside, outside) == first


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="out-of-distribution scores are empty"):
        bootstrap.detection_intervals([1.0], [])
    with pytest.raises(ValueError, match=r"got \[2\] and \[1\]"):
        bootstrap.classification_intervals([0.5, 0.9], [True])


def coverage(intervals, truth):
    """The share of intervals that hold the truth."""
    return np.mean([low <= truth <= high for low, high in intervals])


def test_intervals_of_detection_hold_the_truth_in_about_95_percent(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 300)
    rng = np.random.default_rng(0)
    found = [
        bootstrap.detection_intervals(rng.normal(1, 1, 300), rng.normal(0, 1, 400))
        for _ in range(150)
    ]
    auroc = norm.cdf(1 / np.sqrt(2))
    fpr95 = norm.cdf(norm.ppf(0.95) - 1)
    assert 0.9 <= coverage([each["auroc"] for each in found], auroc) <= 0.99
    assert 0.9 <= coverage([each["fpr95_out"] for each in found], fpr95) <= 0.99


@pytest.mark.parametrize(("gap", "least"), [(0.0, 0.6), (0.05, 0.85)])
def test_intervals_of_the_ece_hold_the_true_ece(monkeypatch, gap, least):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 300)
    rng = np.random.default_rng(0)
    # The accuracy is below each confidence by the gap, so the true ECE is the gap. A calibrated
    # network (gap 0) is the hard case: the ECE of its images is always above 0, and percentiles of
    # resamples never hold 0.
    confidence = np.linspace(0.56, 0.99, 1000)
    found = []
    for _ in range(100):
        correct = rng.random(1000) < confidence - gap
        found.append(bootstrap.classification_intervals(confidence, correct)["ece"])
    assert coverage(found, gap) >= least
