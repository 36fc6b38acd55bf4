"""Scoring a run's images with detectors, which may be a user's own."""

import pytest

from detectors import DETECTORS, Detector, FitData, Fitted
from experiment import detection
from tests.detectors.sets import network_set, untrained_data


def measured(score):
    """Measure a detector whose score of a set is `score(fit data, outputs)`, and Energy after it.

    Return the data, with the network.
    """
    data = untrained_data()
    sets = {name: network_set(data.network, seed, 60) for seed, name in enumerate(("test", "far"))}
    mine = Detector(
        "Mine", "logits", lambda data: Fitted(lambda images: score(data, images.outputs))
    )
    detection.measure(mine, data, sets)
    detection.measure(DETECTORS["energy"], data, sets)
    return data


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda _, outputs: outputs["logits"].sub_(1).amax(1), "changes the network's outputs"),
        (lambda _, outputs: outputs["logits"][:50].amax(1), r"a tensor \[60\], got \[50\]"),
        (lambda _, outputs: outputs["logits"].amax(1, keepdim=True), r"got \[60, 1\]"),
        (lambda _, outputs: outputs["logits"].amax(1).numpy(), "got ndarray"),
        (lambda *_: None, "got NoneType"),
        (lambda _, outputs: outputs["logits"].amax(1) / 0, "no finite score for 60 of 60"),
    ],
)
def test_what_a_detector_of_a_plugin_does_wrong_is_said(score, message):
    with pytest.raises(ValueError, match=message):
        measured(score)


def test_a_detector_may_not_change_what_it_is_fitted_to():
    data = untrained_data()

    def fit(data):
        data.train.outputs["features"].zero_()
        return DETECTORS["energy"].fit(data)

    sets = {name: network_set(data.network, 0, 60) for name in ("test", "far")}
    with pytest.raises(ValueError, match="changes the network's outputs"):
        detection.measure(Detector("Mine", "features", fit), data, sets)


def test_a_detector_that_leaves_the_network_in_training_mode_changes_no_other():
    def score(data: FitData, outputs):
        data.network.train()
        return outputs["logits"].amax(1)

    assert not measured(score).network.training
