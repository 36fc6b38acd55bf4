"""Risk and coverage against their definitions, scikit-learn, and values of torch-uncertainty."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import auc, roc_auc_score

from tests.utils.logits import random_logits
from utils.failures import aurc, misclassification_metrics, ood_aurc, risk_coverage

# Images as (score, failure), with few different scores, so that ties are common.
some_images = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(some_images)
def test_the_risk_is_its_mean_over_all_orders_of_equal_scores(images):
    orders = [
        order
        for order in itertools.permutations(images)
        if all(first[0] >= second[0] for first, second in itertools.pairwise(order))
    ]
    accepted = np.arange(1, len(images) + 1)
    risks = [np.cumsum([failed for _, failed in order]) / accepted for order in orders]
    coverage, risk = risk_coverage(*zip(*images, strict=True))
    np.testing.assert_allclose(risk, np.mean(risks, axis=0), atol=1e-12)
    np.testing.assert_allclose(coverage, accepted / len(images))


def test_the_aurc_of_four_images():
    # The risks at 1, 2, 3 and 4 accepted images.
    assert aurc([4, 3, 2, 1], [0, 1, 0, 1]) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    # The middle two tie: each is accepted first half of the time.
    assert aurc([4, 2, 2, 1], [0, 1, 0, 1]) == pytest.approx((0 + 1 / 4 + 1 / 3 + 2 / 4) / 4)


def test_a_score_that_knows_nothing_has_the_error_as_its_aurc():
    assert aurc([1.0] * 10, [True] * 3 + [False] * 7) == pytest.approx(0.3)


def test_ood_images_are_failures_whatever_their_answer():
    # Accepted in this order: right, OOD, wrong.
    assert ood_aurc([3, 1], [False, True], [2]) == pytest.approx((0 + 1 / 2 + 2 / 3) / 3)


def test_misclassification_metrics_agree_with_scikit_learn():
    logits, labels = random_logits(500, 10)
    scores, wrong = softmax(logits, 1).max(1), logits.argmax(1) != labels
    found = misclassification_metrics(scores, wrong)
    assert found["auroc"] == pytest.approx(roc_auc_score(~wrong, scores))
    accepted = scores >= np.sort(scores[~wrong])[::-1][math.ceil(0.95 * (~wrong).sum()) - 1]
    assert found["fpr95"] == pytest.approx(accepted[wrong].mean())
    assert found["aurc"] == aurc(scores, wrong)


@pytest.mark.parametrize("wrong", [True, False])
def test_answers_that_are_all_right_or_all_wrong_have_only_an_aurc(wrong):
    expected = {"aurc": float(wrong), "auroc": None, "fpr95": None}
    assert misclassification_metrics([1, 2, 3], [wrong] * 3) == expected


# Made once with torch-uncertainty 0.13.0: AURC; 2·SCODAURC with 120 OOD images, since its cost of
# an accepted failure is ½; FPR95 with right answers as positive. Logits are `random_logits`.
@pytest.mark.parametrize(
    ("n", "c", "spread", "area", "with_ood", "fpr95"),
    [
        (300, 4, 3.0, 0.3268362, 0.4292886, 0.8473282),
        (302, 30, 0.5, 0.5657386, 0.6113020, 0.8457711),
    ],
)
def test_the_values_are_those_of_torch_uncertainty(n, c, spread, area, with_ood, fpr95):
    """It integrates the curve by straight lines from 1/N to 1, and divides by that range."""
    logits, labels = random_logits(n, c, spread=spread)
    inside, wrong = softmax(logits, 1).max(1), logits.argmax(1) != labels
    outside = softmax(random_logits(120, c, seed=1, spread=spread / 2)[0], 1).max(1)

    def theirs(ours, coverage, risk):
        count = len(risk)
        by_lines = (count * ours - (risk[0] + risk[-1]) / 2) / (count - 1)
        assert by_lines == pytest.approx(auc(coverage, risk) / (1 - 1 / count))
        return by_lines

    ours = aurc(inside, wrong)
    assert theirs(ours, *risk_coverage(inside, wrong)) == pytest.approx(area, abs=1e-6)
    both = np.concatenate([inside, outside])
    failures = np.concatenate([wrong, np.ones(120, bool)])
    ours = ood_aurc(inside, wrong, outside)
    assert theirs(ours, *risk_coverage(both, failures)) == pytest.approx(with_ood, abs=1e-6)
    assert misclassification_metrics(inside, wrong)["fpr95"] == pytest.approx(fpr95, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "failures", "message"),
    [
        ([], [], r"need scores \[N\] and failures \[N\], N of 1 or more, got \[0\] and \[0\]"),
        ([1, 2], [True], r"got \[2\] and \[1\]"),
        ([[1]], [[True]], r"got \[1, 1\] and \[1, 1\]"),
        ([1, math.nan], [True, False], "the scores are not all finite"),
    ],
)
def test_bad_scores_and_failures_are_refused(scores, failures, message):
    with pytest.raises(ValueError, match=message):
        risk_coverage(scores, failures)
