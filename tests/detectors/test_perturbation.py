"""Perturbed inputs, and the choice of ε."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from detectors import FitData, SetOutputs
from detectors.odin import fit_odin
from detectors.perturbation import EPSILONS, choose_epsilon, perturbed
from detectors.preprocessing import fit_preprocessing
from tests.detectors.sets import (
    STD,
    C,
    network_set,
    seeded_generator,
    untrained_data,
)


@pytest.mark.parametrize(
    "fit", [lambda data, epsilon: fit_odin(data, epsilon, temperature=1.0), fit_preprocessing]
)
def test_images_whose_probability_rounds_to_1_get_different_scores(fit):
    data = untrained_data()
    head = data.network.classifier
    with torch.no_grad():  # gives class 0 a probability of about 1 - 4e-11
        head.weight[1:] = 0
        head.bias[:] = torch.tensor([25.0, 0, 0, 0])
    test = network_set(data.network, 2, 33)
    assert (test.outputs["logits"].softmax(1)[:, 0] == 1).all()
    before, after = (fit(data, epsilon=epsilon)(test) for epsilon in (0.0, 0.01))
    assert len(before.unique()) == 33
    assert (after > before).all()


def smooth_score():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 20), nn.Tanh(), nn.Linear(20, C))
    return lambda inputs: network(inputs).logsumexp(1)


def test_epsilon_is_a_change_of_pixels_that_increases_the_score():
    inputs, score = torch.randn(9, 3, 4, 4, generator=seeded_generator()), smooth_score()
    previous = score(inputs).mean()
    for epsilon in EPSILONS[1:5]:
        changed = perturbed(inputs, score, epsilon, STD)
        in_pixels = (changed - inputs).abs() * torch.tensor(STD).view(-1, 1, 1)
        torch.testing.assert_close(in_pixels, torch.full_like(inputs, epsilon), rtol=0, atol=1e-6)
        assert score(changed).mean() > previous
        previous = score(changed).mean()
    assert not inputs.requires_grad
    torch.testing.assert_close(perturbed(inputs, score, 0.0, STD), inputs, rtol=0, atol=0)


@pytest.mark.parametrize("best", [0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08])  # the paper's
def test_the_chosen_epsilon_is_the_one_with_the_largest_mean_score(best):
    inputs = torch.randn(9, 3, 4, 4, generator=seeded_generator(), dtype=torch.float64)
    # An image's score is largest at its target, where every pixel has changed by its best size.
    # The four images of the second batch have another best size and a smaller weight.
    other = EPSILONS[0] if best == EPSILONS[-1] else EPSILONS[-1]
    # If the best ε is 0, the target is nearer than half of the smallest step.
    sizes = torch.tensor([best or 0.001] * 5 + [other] * 4)
    weights = torch.tensor([1e4] * 5 + [1] * 4)
    target = inputs + sizes.view(-1, 1, 1, 1) * inputs.sign() / torch.tensor(
        STD, dtype=torch.float64
    ).view(-1, 1, 1)
    start = 0

    def score(x):
        rows = slice(start, start + len(x))
        return -(x - target[rows]).square().sum((1, 2, 3)) * weights[rows]

    def batches():
        nonlocal start
        for start, stop in ((0, 5), (5, 9)):
            yield inputs[start:stop]

    assert choose_epsilon(batches(), score, STD) == best


@pytest.mark.parametrize(
    ("fit", "score"),
    [
        (
            lambda data, epsilon="chosen": fit_odin(data, epsilon, 3.0),
            lambda logits: softmax(logits / 3, axis=1).max(1),
        ),
        (fit_preprocessing, lambda logits: softmax(logits, axis=1).max(1)),
    ],
)
def test_epsilon_is_chosen_on_the_calibration_split_only(fit, score):
    data = untrained_data()
    data = FitData(
        data.network,
        data.head,
        SetOutputs({}, lambda: pytest.fail("the training images")),
        data.calibration,
        STD,
    )
    means = {
        epsilon: float(fit(data, epsilon=epsilon)(data.calibration).mean()) for epsilon in EPSILONS
    }
    assert fit(data).parameters["epsilon"] == max(means, key=means.get)
    # ε is chosen by the mean of the reported score. This score orders images as the probability of
    # the definition does.
    with torch.no_grad():
        logits = (
            torch.cat([data.network(inputs) for inputs in data.calibration.batches()])
            .double()
            .numpy()
        )
    order = np.argsort(fit(data, epsilon=0.0)(data.calibration).numpy())
    np.testing.assert_array_equal(order, np.argsort(score(logits)))


def test_choosing_epsilon_by_scores_that_are_not_finite_is_an_error():
    data = untrained_data()
    inputs = torch.cat(list(data.calibration.batches()))
    inputs[3] = math.nan
    with pytest.raises(ValueError, match="not all finite"):
        fit_odin(replace(data, calibration=SetOutputs({}, lambda: [inputs])), "chosen")


@pytest.mark.parametrize("bad", [-0.01, 1.0, math.nan, math.inf, "choosen"])
def test_an_epsilon_outside_0_to_1_is_an_error(bad):
    data = untrained_data()
    for fit in (fit_odin, fit_preprocessing):
        with pytest.raises(ValueError, match=rf"ε.*\[0, 1\), .*got {bad!r}$"):
            fit(data, epsilon=bad)


def test_choosing_epsilon_without_images_is_an_error():
    with pytest.raises(ValueError, match="one calibration image or more"):
        choose_epsilon([], smooth_score(), STD)
