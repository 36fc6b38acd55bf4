"""Whether a window of scores is like the held-out ones."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstwobign

import dismax
from dismax.monitoring import EXACT, LEVEL


def scores(count, seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, count)


def threshold_of(held_out):
    return float(np.quantile(held_out, 0.05))


def test_windows_of_the_same_images_rarely_differ():
    """The threshold comes from the held-out scores, so it is as uncertain as they are few."""
    alarms = 0
    for seed in range(200):
        held_out = scores(300, seed)
        found = dismax.drift(held_out, scores(1000, 10_000 + seed), threshold_of(held_out))
        alarms += found.differs
    assert alarms <= 200 * LEVEL * 2.5  # more have a probability below 2 %


@pytest.mark.parametrize(("held_out", "window"), [(100, 1), (10, 1), (23, 23), (40, 7)])
def test_few_images_are_no_reason_to_call_them_different(held_out, window):
    differs = [
        dismax.drift(scores(held_out, seed), scores(window, 9999 + seed), -9).differs
        for seed in range(300)
    ]
    assert sum(differs) <= 9  # more have a probability below 0.5 %, with LEVEL


def test_a_single_image_below_all_others_has_the_exact_p_value():
    found = dismax.drift(np.arange(100.0), [-1.0], -9)
    assert found.p_value == pytest.approx(2 / 101)
    assert not found.differs


def test_many_images_take_the_approximation_which_is_fast():
    """The exact test of so many images takes minutes."""
    found = dismax.drift(scores(50_000, 0), scores(20_000, 1), -9)
    approximate = kstwobign.sf(found.statistic * math.sqrt(50_000 * 20_000 / 70_000))
    assert found.p_value == pytest.approx(approximate, rel=0.05)
    assert len(scores(50_000, 0)) * 20_000 > EXACT


def test_a_shift_of_all_scores_differs():
    held_out = scores(1000, 0)
    found = dismax.drift(held_out, scores(500, 1, mean=-0.5), threshold_of(held_out))
    assert found.differs
    assert found.p_value < 1e-6
    assert found.low > found.promised == 0.05
    assert "the window of 500 images differs from the 1,000 held-out ones" in str(found)


def test_more_refused_images_differ_though_most_scores_do_not():
    held_out = scores(1000, 0)
    window = np.concatenate([scores(470, 1), np.full(30, -9.0)])
    found = dismax.drift(held_out, window, threshold_of(held_out))
    assert found.p_value > LEVEL
    assert found.differs


def test_the_numbers_are_those_of_their_definitions():
    found = dismax.drift([1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 3.5], 1.0)
    assert (found.images, found.held_out) == (3, 4)
    assert found.statistic == pytest.approx(5 / 12)  # at 1.5
    assert (found.refused, found.promised) == (pytest.approx(1 / 3), 0)
    # The 99 % interval: 0.005 = 1 - (1 - low)^3, and P(1 or fewer of 3 | high) = 0.005.
    assert found.low == pytest.approx(1 - 0.995 ** (1 / 3))
    at = found.high
    assert (1 - at) ** 3 + 3 * at * (1 - at) ** 2 == pytest.approx(0.005)


def test_an_image_without_a_score_counts_as_refused():
    held_out = torch.from_numpy(scores(100, 0))
    window = torch.from_numpy(scores(100, 1))
    window[:40] = math.nan
    found = dismax.drift(held_out, window, -100)
    assert found.refused == 0.4
    assert found.differs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [1.0], 0), r"held_out_scores are one score or more .*, got \[0\]"),
        (([1.0], [], 0), r"window_scores are one score or more .*, got \[0\]"),
        (([1.0], [[1.0]], 0), r"window_scores .*, got \[1, 1\]"),
        (([math.nan], [1.0], 0), "held_out_scores are not all finite"),
        (([-5.0, -4.0], [-5.0], 0.95), "0.95 refuses all held-out images: give a score"),
        (([1.0], [1.0], math.nan), "threshold is a finite number, got nan"),
    ],
)
def test_bad_scores_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dismax.drift(*arguments)


def test_the_threshold_may_be_the_detectors_tensor_but_not_one_for_each_class():
    held_out = torch.arange(100.0)
    assert dismax.drift(held_out, held_out, torch.tensor(5.0)).promised == 0.05
    with pytest.raises(ValueError, match="the threshold is a finite number, got tensor"):
        dismax.drift(held_out, held_out, torch.tensor([5.0, 6.0]))
