"""reporting/curves.py: curves and operating points of real finished runs."""

import numpy as np
import pytest

from reporting import curves
from tests.reporting.tables import LOSSES


def test_recomputed_scores_are_those_of_the_records(outcomes):
    assert len(outcomes) == len(LOSSES) + 2
    rates = np.linspace(0, 1, 20_001)
    for run in outcomes:
        for source, found in run.record["detection"].items():
            recorded = found["scores"][run.record["scores_at"]][run.record["score"]]["auroc"]
            curve = curves.roc(run.scores["test"], run.scores[source], rates)
            assert np.trapezoid(curve, rates) == pytest.approx(recorded, abs=1e-3)


def test_reliability_diagrams_sum_to_the_ece(outcomes):
    for run in outcomes:
        for at, confidences in run.confidences.items():
            mean, accuracy, share = curves.reliability(confidences["test"], run.correct)
            assert share.sum() == pytest.approx(1)
            assert share @ np.abs(accuracy - mean) == pytest.approx(
                run.record["classification"]["test"][at]["ece"], abs=1e-9
            )


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.95, 0.99])
def test_operating_points_keep_the_rate_on_the_images_that_fitted_the_temperature(outcomes, rate):
    for run in outcomes:
        split = run.record["temperature"]["split"]
        accepted = curves.operating_point(run.calibration_scores, run.scores, rate)
        assert rate <= accepted[split]
        assert accepted.keys() == {"test", split, *run.record["detection"]}
        if len(np.unique(run.calibration_scores)) == len(run.calibration_scores):
            assert accepted[split] < rate + 1 / len(run.calibration_scores)


def test_risk_without_and_with_ood_images_is_that_of_a_loop():
    inside, outside = np.array([4.0, 3.0, 2.0, 1.0]), np.array([3.5, 0.0])
    wrong = np.array([False, True, False, True])
    quarters, sixths = np.arange(1, 5) / 4, np.arange(1, 7) / 6
    assert curves.risk(inside, wrong, np.empty(0), quarters) == pytest.approx(
        [0, 1 / 2, 1 / 3, 2 / 4]
    )
    # In order: right, OOD, wrong, right, wrong, OOD.
    assert curves.risk(inside, wrong, outside, sixths) == pytest.approx(
        [0, 1 / 2, 2 / 3, 2 / 4, 3 / 5, 4 / 6]
    )


def test_the_risk_at_full_coverage_is_the_share_of_failures(outcomes):
    for run in outcomes:
        wrong = ~run.correct
        for source in run.record["detection"]:
            found = curves.risk(run.scores["test"], wrong, run.scores[source], np.ones(1))
            count = len(run.scores[source])
            assert found == pytest.approx((wrong.sum() + count) / (len(wrong) + count))
