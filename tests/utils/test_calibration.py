"""The fitted temperature against dense grids, and its warnings and errors."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from experiment.evaluation import temperature_results
from tests.utils.logits import random_logits
from utils.bins import BINS
from utils.calibration import _calibration_errors, fit_temperature
from utils.confidences import HIGHEST, LOWEST, Confidences
from utils.metrics import bin_of, expected_calibration_error, negative_log_likelihood

METRICS = {"ece": expected_calibration_error, "nll": negative_log_likelihood}


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
    labels[0] = logits[0].argmin()  # without an error no temperature is the best
    for objective, metric in METRICS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of these lie at a bound
            fitted = fit_temperature(torch.tensor(logits), torch.tensor(labels), objective)
        grid = np.geomspace(0.001, 100, 777)
        best = min(metric(logits / t, labels) for t in grid)
        assert metric(logits / fitted, labels) <= best + 1e-6
        assert 0.001 <= fitted <= 100


def distance_logits(n, c, seed):
    """Logits like those of a trained distance head, and labels drawn at temperature 0.1.

    One class is near, and all others are about equally far.
    """
    rng = np.random.default_rng(seed)
    distances = 1 + 0.03 * rng.normal(size=(n, c))
    distances[np.arange(n), rng.integers(c, size=n)] = 0.2 + 0.8 * rng.random(n)
    logits = -(distances + distances.mean(1, keepdims=True))
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.tensor(logits / 0.1).softmax(1)
    return logits, torch.multinomial(probabilities, 1, generator=generator)[:, 0]


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
        confidences = Confidences(torch.tensor(logits))
        assert len(confidences.nodes) < 300  # few enough for an error to show
        points = torch.tensor(np.sort(rng.uniform(-3, 2, 50)))
        torch.testing.assert_close(
            confidences.interpolated(points), confidences.exact(points), rtol=0, atol=3e-5
        )


def test_the_narrow_minima_of_a_small_set_are_found():
    rng = np.random.default_rng(19)
    logits = rng.normal(size=(20, 3))
    p = np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in p])
    fitted = fit_temperature(torch.tensor(logits), torch.tensor(labels))
    best = min(expected_calibration_error(logits / t, labels) for t in np.geomspace(0.5, 2, 2000))
    assert expected_calibration_error(logits / fitted, labels) <= best + 1e-4


@pytest.mark.parametrize(("errors", "warned"), [(9, True), (10, False)])
def test_fewer_than_ten_wrong_answers_warn(errors, warned):
    logits, _ = (torch.tensor(array) for array in random_logits(300, 4))
    labels = logits.argmax(1)
    labels[:errors] = logits[:errors].argmin(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_temperature(logits, labels)
    assert any("few answers are wrong" in str(each.message) for each in caught) == warned


def test_the_temperature_that_made_the_labels_is_found_again():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=generator) * 2
    labels = torch.multinomial((logits / 0.25).softmax(1), 1, generator=generator).squeeze(1)
    for objective in ("ece", "nll"):
        assert fit_temperature(logits, labels, objective) == pytest.approx(0.25, rel=0.1)


def test_the_one_nearest_1_of_equally_good_temperatures_is_returned():
    # Every temperature gives the same probabilities.
    logits = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert fit_temperature(logits, torch.tensor([0, 1])) == 1


def mean_confidence(logits, temperature):
    return (logits.double() / temperature).softmax(1).amax(1).mean().item()


@pytest.mark.parametrize("objective", ["ece", "nll"])
@pytest.mark.parametrize("n", [1, 200, 1000])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])  # underconfident to overconfident
def test_the_confidence_of_correct_answers_depends_on_their_number(objective, n, scale):
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
def test_one_error_is_enough_to_fit_the_metric(objective):
    logits, labels = (torch.tensor(array) for array in random_logits(300, 4))
    labels = logits.argmax(1)
    labels[0] = logits[0].argmin()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", r"few answers are wrong \(1 of 300\)")
        fitted = fit_temperature(logits, labels, objective)
    metric = METRICS[objective]
    grid = [metric(logits / t, labels) for t in np.geomspace(LOWEST, HIGHEST, 777)]
    assert metric(logits / fitted, labels) <= min(grid) + 1e-3


@pytest.mark.parametrize("objective", ["ece", "nll"])
@pytest.mark.parametrize("right", [True, False])
def test_logits_too_far_apart_for_any_temperature_warn(objective, right):
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
    # The logits hardly differ and 60 % are right. The NLL is lowest at T = 0.001, the ECE is not.
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


def test_logits_and_labels_of_other_types_are_refused():
    for bad in (torch.zeros(2, 2).cfloat(), torch.zeros(2, 2).cdouble()):
        with pytest.raises(ValueError, match="real numbers.*complex"):
            fit_temperature(bad, torch.zeros(2).long())
    for bad in (torch.zeros(2), torch.zeros(2).cfloat()):
        with pytest.raises(ValueError, match="the labels integers"):
            fit_temperature(torch.zeros(2, 2), bad)


def test_a_temperature_at_a_bound_warns():
    with pytest.warns(UserWarning, match=r"bound 0\.001"):
        fit_temperature(torch.tensor([[0.0001, 0.0]]), torch.tensor([0]), "nll")
    # Near the bound all ECEs are equal. The temperature nearest to 1 of these is not the bound.
    with pytest.warns(UserWarning, match=r"bound 100 "):
        fit_temperature(torch.tensor([[2000.0, 0]] * 40), torch.ones(40, dtype=torch.long))
    with pytest.warns(UserWarning, match=r"bound 100 "):
        fit_temperature(torch.tensor([[0.001, 0.0]]), torch.tensor([1]), "nll")


def test_an_unknown_objective_is_refused():
    with pytest.raises(ValueError, match="'brier'.*ece, nll"):
        fit_temperature(torch.zeros(2, 2), torch.zeros(2), "brier")


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(torch.full((2, 2), math.nan), torch.zeros(2).long())


NUMBERS = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, -1.0])


@st.composite
def logit_lists(draw):
    """Logits of 1 to 40 images and 2 to 5 classes."""
    images = draw(st.integers(1, 40))
    classes = draw(st.integers(2, 5))
    row = st.lists(NUMBERS, min_size=classes, max_size=classes)
    return draw(st.lists(row, min_size=images, max_size=images))


@given(logits=logit_lists(), seed=st.integers(0, 99))
# The difference 1e-18 is too small to change a probability.
@example(logits=[[0.0] * 4, [0.0] * 4, [0.0] * 4, [0.0, -1.0, 1e-18, 0.0]], seed=0)
@settings(max_examples=25, deadline=None)
@pytest.mark.filterwarnings(
    "ignore:the best temperature", "ignore:all .* are classified right", "ignore:no temperature"
)
def test_the_fitted_temperature_is_within_bounds_and_its_ece_is_no_worse_than_at_1(logits, seed):
    values = torch.tensor(logits, dtype=torch.float64)
    labels = torch.randint(
        values.shape[1], (len(values),), generator=torch.Generator().manual_seed(seed)
    )
    temperature = fit_temperature(values, labels)
    assert LOWEST <= temperature <= HIGHEST
    if (values.argmax(1) == labels).all():
        confidence = (values / temperature).softmax(1).amax(1).mean().item()
        assert temperature == HIGHEST or confidence <= (len(values) + 1) / (len(values) + 2) + 1e-9
        return
    fitted = expected_calibration_error(values / temperature, labels)
    assert 0 <= fitted <= expected_calibration_error(values, labels) + 1e-9
