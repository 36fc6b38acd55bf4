"""Metrics against scikit-learn, by-hand cases and brute force; the temperature against a dense
grid.
"""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import log_loss

from experiment.evaluation import temperature_results
from utils.bins import BINS
from utils.calibration import (
    HIGHEST,
    LOWEST,
    _calibration_errors,
    _Confidences,
    fit_temperature,
)
from utils.metrics import (
    bin_of,
    brier_score,
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
    """Each rate from its definition, over every threshold."""
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
def test_detection_metrics_are_their_definitions(inside, outside):
    metrics = detection_metrics(inside, outside)
    for name, value in brute_force(inside, outside).items():
        assert metrics[name] == pytest.approx(value, abs=1e-9), name
    assert metrics["fpr95_in"] == pytest.approx(1 - metrics["tnr95"])
    assert all(0 <= value <= 1 for value in metrics.values())
    # Increasing changes of the scores change nothing; exchanging the sets exchanges the
    # conventions.
    exchanged = detection_metrics(-outside, -inside)
    assert exchanged["auroc"] == pytest.approx(metrics["auroc"])
    assert exchanged["aupr_in"] == pytest.approx(metrics["aupr_out"])
    assert exchanged["fpr95_in"] == pytest.approx(metrics["fpr95_out"])


def test_detection_by_hand():
    metrics = detection_metrics([3, 2, 1, 0], [1, -1])
    assert metrics["auroc"] == 6.5 / 8  # of 8 pairs 6 are right, one ties, one is wrong
    assert metrics["tnr95"] == 0.5  # all four in: the threshold is 0
    # At 2: half of the in set, all of the out set; at 0: all and half.
    assert metrics["dtacc"] == 0.75
    equal = detection_metrics([1, 1, 1], [1])
    assert equal["auroc"] == equal["dtacc"] == 0.5
    assert (equal["aupr_in"], equal["aupr_out"]) == (0.75, 0.25)
    assert (equal["tnr95"], equal["fpr95_out"]) == (0.0, 1.0)


def test_the_rate_of_95_percent_is_reached_and_not_just_neared():
    inside = np.arange(20.0)  # 19 of 20 are 95 % exactly
    assert detection_metrics(inside, [0.5])["tnr95"] == 1
    inside = np.arange(21.0)  # 19 of 21 are 90 %, 20 are 95.2 %
    assert detection_metrics(inside, [0.5, 1.5])["tnr95"] == 0.5


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf]])
def test_detection_refuses_empty_and_non_finite_scores(bad):
    with pytest.raises(ValueError, match="out-of-distribution scores are empty or not all finite"):
        detection_metrics([1.0], bad)


def random_logits(n, c, seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, c)) * spread
    return logits, (logits + rng.normal(size=(n, c)) * spread).argmax(1)


# Confidences high, and down to the first bins.
@pytest.mark.parametrize(("c", "spread"), [(4, 3.0), (30, 0.5)])
def test_classification_metrics_are_scikit_learns(c, spread):
    logits, labels = random_logits(300, c, spread=spread)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    metrics = classification_metrics(logits, labels)
    assert metrics["accuracy"] == (p.argmax(1) == labels).mean()
    assert metrics["nll"] == pytest.approx(log_loss(labels, p, labels=range(c)))
    assert metrics["brier"] == pytest.approx(
        np.mean(
            [((row - np.eye(c)[label]) ** 2).sum() for row, label in zip(p, labels, strict=True)]
        )
    )
    confidence, correct = p.max(1), p.argmax(1) == labels
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert metrics["ece"] == pytest.approx(expected)


def test_calibration_error_at_the_edges():
    sure = np.array([[1e4, 0.0], [1e4, 0.0]])  # confidence exactly 1
    assert expected_calibration_error(sure, [0, 0]) == 0
    assert expected_calibration_error(sure, [0, 1]) == 0.5
    assert expected_calibration_error(np.zeros((4, 1)), [0] * 4) == 0  # a single class
    # Confidences 1/20 and 1/10: the first two bins, whose gaps of +0.95 and -0.1 do not cancel.
    unsure = np.zeros((2, 20))
    unsure[1, 0] = math.log(19 / 9)
    assert expected_calibration_error(unsure, [0, 1]) == pytest.approx((0.95 + 0.1) / 2)
    assert negative_log_likelihood(sure, [0, 1]) == 5e3
    assert brier_score(sure, [1, 1]) == 2
    with pytest.raises(ValueError, match="outside 0 to 1"):
        expected_calibration_error(sure, [0, 2])
    with pytest.raises(ValueError, match="not all finite"):
        expected_calibration_error(sure * math.nan, [0, 0])


def test_bins_have_equal_width_and_are_closed_above():
    edges = np.array([0, 0.25, 0.5, 0.75, 1])
    assert bin_of(edges, 4).tolist() == [0, 0, 1, 2, 3]
    assert bin_of(np.nextafter(edges[:-1], 1), 4).tolist() == [0, 1, 2, 3]


def test_the_search_for_the_temperature_has_the_same_calibration_error():
    rng = np.random.default_rng(0)
    edges = np.arange(BINS + 1) / BINS
    confidence = np.concatenate([rng.uniform(size=1000), edges, np.nextafter(edges, 1)])
    correct = (rng.uniform(size=len(confidence)) < confidence).astype(float)
    sums = np.bincount(bin_of(confidence), correct - confidence, BINS)
    (error,) = _calibration_errors(torch.tensor(confidence[None]), torch.tensor(correct))
    assert error.item() == pytest.approx(np.abs(sums).sum() / len(correct), abs=1e-12)


@pytest.mark.parametrize(("n", "c"), [(1, 2), (30, 3), (500, 10)])
@pytest.mark.parametrize("spread", [0.05, 1.0, 30.0])
def test_no_temperature_of_a_dense_grid_is_better(n, c, spread):
    logits, labels = random_logits(n, c, seed=n, spread=spread)
    labels[0] = logits[0].argmin()  # of faultless answers no temperature is the best
    measures = {"ece": expected_calibration_error, "nll": negative_log_likelihood}
    for objective, measure in measures.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of these lie at a bound
            fitted = fit_temperature(torch.tensor(logits), torch.tensor(labels), objective)
        grid = np.geomspace(0.001, 100, 777)
        best = min(measure(logits / t, labels) for t in grid)
        assert measure(logits / fitted, labels) <= best + 1e-6
        assert 0.001 <= fitted <= 100


def distance_logits(n, c, seed):
    """Logits as a trained distance head gives them, one class near and all others about as far, and
    labels of temperature 0.1.
    """
    rng = np.random.default_rng(seed)
    distances = 1 + 0.03 * rng.normal(size=(n, c))
    distances[np.arange(n), rng.integers(c, size=n)] = 0.2 + 0.8 * rng.random(n)
    logits = -(distances + distances.mean(1, keepdims=True))
    return logits, torch.multinomial(
        torch.tensor(logits / 0.1).softmax(1), 1, generator=torch.Generator().manual_seed(seed)
    )[:, 0]


@pytest.mark.parametrize("seed", range(3))
def test_a_coarse_table_finds_what_a_dense_grid_finds(seed):
    logits, labels = distance_logits(300, 1000, seed)
    grid = np.geomspace(0.05, 0.2, 1500)
    correct, gaps = logits.argmax(1) == labels.numpy(), logits - logits.max(1, keepdims=True)

    def ece(t):
        confidence = 1 / np.exp(gaps / t).sum(1)
        bins = np.ceil(confidence * 15).astype(int)
        return np.abs(np.bincount(bins, correct - confidence)).sum() / len(logits)

    assert ece(fit_temperature(logits, labels)) <= min(map(ece, grid)) + 1e-3


@pytest.mark.parametrize(("n", "c"), [(3000, 100), (500, 1000)])
def test_interpolated_confidences_are_the_exact_ones(n, c):
    rng = np.random.default_rng(n)
    for logits in (rng.normal(size=(n, c)) * 5, distance_logits(n, c, n)[0]):
        confidences = _Confidences(torch.tensor(logits))
        assert len(confidences.nodes) < 300  # few enough to show
        points = torch.tensor(np.sort(rng.uniform(-3, 2, 50)))
        torch.testing.assert_close(
            confidences.nearly(points), confidences.exactly(points), rtol=0, atol=3e-5
        )


def test_the_narrow_minima_of_a_small_set_are_found():
    rng = np.random.default_rng(19)
    logits = rng.normal(size=(20, 3))
    p = np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in p])
    fitted = fit_temperature(torch.tensor(logits), torch.tensor(labels))
    best = min(expected_calibration_error(logits / t, labels) for t in np.geomspace(0.5, 2, 2000))
    assert expected_calibration_error(logits / fitted, labels) <= best + 1e-4


def test_the_temperature_that_made_the_labels_is_found_again():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=generator) * 2
    labels = torch.multinomial((logits / 0.25).softmax(1), 1, generator=generator).squeeze(1)
    for objective in ("ece", "nll"):
        assert fit_temperature(logits, labels, objective) == pytest.approx(0.25, rel=0.1)


def test_of_equally_good_temperatures_the_one_nearest_1():
    # Every temperature gives the same probabilities.
    logits = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert fit_temperature(logits, torch.tensor([0, 1])) == 1


def mean_confidence(logits, temperature):
    return (logits.double() / temperature).softmax(1).amax(1).mean().item()


@pytest.mark.parametrize("objective", ["ece", "nll"])
@pytest.mark.parametrize("n", [1, 200, 1000])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])  # from far too unsure to far too sure
def test_faultless_answers_are_as_sure_as_their_number_allows(objective, n, scale):
    generator = torch.Generator().manual_seed(n)
    labels = torch.randint(10, (n,), generator=generator)
    logits = torch.randn(n, 10, generator=generator)
    logits[torch.arange(n), labels] = logits.amax(1) + 0.1 + torch.rand(n, generator=generator)
    with pytest.warns(
        UserWarning, match=f"all {n} examples are classified right.*{n + 1}/{n + 2} or less"
    ):
        fitted = fit_temperature(scale * logits, labels, objective)
    assert LOWEST < fitted < HIGHEST
    assert mean_confidence(scale * logits, fitted) == pytest.approx((n + 1) / (n + 2), abs=1e-9)


@pytest.mark.parametrize("objective", ["ece", "nll"])
def test_one_error_is_enough_to_be_fitted_as_before(objective):
    logits, labels = (torch.tensor(array) for array in random_logits(300, 4))
    labels = logits.argmax(1)
    labels[0] = logits[0].argmin()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit_temperature(logits, labels, objective)
    measure = {"ece": expected_calibration_error, "nll": negative_log_likelihood}[objective]
    grid = [measure(logits / t, labels) for t in np.geomspace(LOWEST, HIGHEST, 777)]
    assert measure(logits / fitted, labels) <= min(grid) + 1e-3


@pytest.mark.parametrize("objective", ["ece", "nll"])
@pytest.mark.parametrize("right", [True, False])
def test_logits_too_far_apart_for_any_temperature_are_said(objective, right):
    logits, labels = (torch.tensor(array) for array in random_logits(200, 5))
    labels = logits.argmax(1) if right else labels
    for factor in (1e6, 1e12):
        with pytest.warns(
            UserWarning,
            match=r"no temperature in .* changes the confidences.* differ by up to \de\+",
        ):
            fitted = fit_temperature(factor * logits, labels, objective)
        assert fitted == (100 if right or objective == "nll" else 1)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.uint64]
)
def test_labels_of_any_integer_type_calibrate(dtype):
    logits, labels = (torch.tensor(array) for array in random_logits(100, 4))
    expected = fit_temperature(logits, labels, "nll")
    for narrow in (labels.to(dtype), labels.to(dtype).numpy()):
        assert fit_temperature(logits, narrow, "nll") == expected
    labels[0] = 200
    with pytest.raises(ValueError, match="integers in 0 to 3"):
        fit_temperature(logits, labels.to(dtype))
    with pytest.raises(ValueError, match="integers in 0 to 3"):
        fit_temperature(logits, np.full(100, 2**64 - 1, dtype=np.uint64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
# Logits that are distances, and those of a linear layer.
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_shifted_logits_give_the_same_temperature_or_an_error(dtype, spread):
    logits, labels = (torch.tensor(array) for array in random_logits(1000, 10, spread=spread))
    expected = fit_temperature(logits, labels, "nll")
    refused = []
    for shift in 10.0 ** torch.arange(1, 19):
        for shifted in ((logits + shift).to(dtype), (logits - shift).to(dtype)):
            try:
                fitted, refusal = fit_temperature(shifted, labels, "nll"), ""
            except ValueError as error:
                fitted, refusal = expected, str(error)
                refused.append(shift)
            assert fitted == pytest.approx(expected, rel=0.1), shift
            assert not refusal or "subtract each example's largest logit" in refusal
    assert 1e16 in refused


def test_a_warning_of_the_nll_alone_says_that_its_temperature_is_not_used():
    # Nearly no difference, and 60 % right: the NLL wants T = 0.001, the ECE does not.
    logits = torch.zeros(1000, 2)
    logits[:, 0] = 1e-5 * torch.rand(1000, generator=torch.Generator().manual_seed(1))
    result = temperature_results(logits, (torch.arange(1000) % 5 > 2).long())
    assert result["by_nll"] == pytest.approx(LOWEST)
    ends = [
        message.endswith("it is only recorded, not used")
        for message in result["warnings"]
        if "by NLL" in message
    ]
    assert ends == [True]
    faultless = temperature_results(torch.eye(10), torch.arange(10))["warnings"]
    assert [message.count("only recorded") for message in faultless] == [0]


def test_a_bound_warns_and_bad_input_raises():
    for bad in (torch.zeros(2, 2).cfloat(), torch.zeros(2, 2).cdouble()):
        with pytest.raises(ValueError, match="real numbers.*complex"):
            fit_temperature(bad, torch.zeros(2).long())
    for bad in (torch.zeros(2), torch.zeros(2).cfloat()):
        with pytest.raises(ValueError, match="the labels integers"):
            fit_temperature(torch.zeros(2, 2), bad)
    with pytest.warns(UserWarning, match=r"bound 0\.001"):
        fit_temperature(torch.tensor([[0.0001, 0.0]]), torch.tensor([0]), "nll")
    with pytest.warns(UserWarning, match=r"bound 100 "):
        fit_temperature(torch.tensor([[0.001, 0.0]]), torch.tensor([1]), "nll")
    with pytest.raises(ValueError, match="'brier'.*ece, nll"):
        fit_temperature(torch.zeros(2, 2), torch.zeros(2), "brier")
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(torch.full((2, 2), math.nan), torch.zeros(2).long())
