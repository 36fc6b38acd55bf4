"""reporting/histograms.py: what a histogram of scores shows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from reporting.histograms import score_histograms
from reporting.style import looks


def first_panel(outcome, scores):
    """The first panel of a run whose sets all have these scores."""
    run = replace(outcome, scores=dict.fromkeys(outcome.scores, scores))
    figure = score_histograms({"SoftMax": [run]}, looks(["SoftMax"]))
    figure.draw_without_rendering()
    return figure.axes[0]


def tallest(panel):
    """The share of the images in the tallest bar."""
    return max(patch.get_xy()[:, 1].max() for patch in panel.patches)


def test_probabilities_close_to_1_are_no_single_bar(outcomes):
    scores = expit(np.random.default_rng(0).normal(8, 2, 5000))
    assert (scores > 0.98).mean() > 0.9  # one bar of a histogram of the scores themselves
    panel = first_panel(outcomes[0], scores)
    assert tallest(panel) < 0.1
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0.99", "0.9999", "1-1e-6"]
    assert [tick.get_loc() for tick in panel.xaxis.get_major_ticks()] == pytest.approx(
        np.log([0.99 / 0.01, 0.9999 / 0.0001, 0.999999 / 0.000001])
    )


def test_probabilities_of_exactly_0_and_1_are_drawn(outcomes):
    assert tallest(first_panel(outcomes[0], np.array([0.0, 1.0, 1.0, 1.0, 0.5]))) == pytest.approx(
        0.6
    )


def test_other_scores_keep_their_scale(outcomes):
    low, high = first_panel(outcomes[0], np.linspace(-3, 0.9, 100)).get_xlim()
    assert (low, high) == (pytest.approx(-3, abs=0.3), pytest.approx(0.9, abs=0.3))
