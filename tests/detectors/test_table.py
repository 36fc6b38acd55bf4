"""What holds for every detector of the table."""

import json
import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from detectors import DETECTORS, FitData, SetOutputs, get_detector
from losses import LOSSES
from tests.detectors.sets import (
    MEAN,
    STD,
    C,
    feature_data,
    feature_set,
    linear_head,
    network_set,
    random_features,
    trained_data,
    untrained_data,
)

ACCEPTED = [
    (name, loss)
    for name, row in DETECTORS.items()
    for loss in LOSSES
    if not row.refuses(LOSSES[loss].head(2, C))
]


def data_for(name, loss):
    """Return fit data for a detector: an attack changes predictions only of a trained network."""
    return trained_data(loss) if name == "mahalanobis_layers" else untrained_data(loss)


@pytest.mark.parametrize(("name", "loss"), ACCEPTED)
def test_scores_are_finite_and_the_network_does_not_change(name, loss):
    data = data_for(name, loss)
    before = deepcopy(data.network.state_dict())
    other = network_set(data.network, 2, 33)
    fitted = DETECTORS[name].fit(data)
    scores = fitted(other)
    assert scores.shape == (33,)
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert not scores.requires_grad
    assert len(scores.unique()) > 25  # a score of ranks has some ties
    numbers = [
        value
        for value in json.loads(json.dumps(dict(fitted.parameters))).values()
        if not isinstance(value, str)
    ]
    assert all(map(math.isfinite, numbers))
    assert all(
        parameter.grad is None
        for parameter in (*data.network.parameters(), *data.head.parameters())
    )
    # equal_nan, since the thresholds are not set.
    torch.testing.assert_close(data.network.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert data.head(other.outputs["features"]).dtype == torch.float32


@pytest.mark.parametrize(
    "name", [name for name, row in DETECTORS.items() if row.needs == "network"]
)
@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
)
def test_scores_do_not_depend_on_the_callers_gradient_mode(name, mode):
    data = trained_data()
    expected = DETECTORS[name].fit(data)(data.train)
    with mode():
        # Labels and inputs are made in the mode, too.
        train, calibration = network_set(data.network, 0, 120), network_set(data.network, 1, 200)
        in_mode = FitData(data.network, data.head, train, calibration, STD, MEAN)
        scores = DETECTORS[name].fit(in_mode)(train)
    assert train.labels.is_inference() is (mode is torch.inference_mode)
    if isinstance(mode(), torch.autocast):  # bf16 has few digits
        assert np.corrcoef(scores, expected)[0, 1] > 0.95
    else:
        torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize(
    ("name", "gradients"), [("mahalanobis_layers", 4), ("odin", 1), ("preprocessing", 4 + 1)]
)
def test_only_passes_that_need_input_gradients_build_a_graph(name, gradients):
    """A detector may get four batches of calibration images, and gets one of test images.

    Other passes keep no activations.
    """
    data, built = trained_data(), []
    other = network_set(data.network, 2, 33)
    data.network.body[0].register_forward_hook(
        lambda module, inputs, output: built.append(output.requires_grad)
    )
    DETECTORS[name].fit(data)(other)
    assert sum(built) == gradients
    assert len(built) > gradients


def test_detectors_that_need_a_linear_head_refuse_other_heads():
    accepted = {row: {loss for name, loss in ACCEPTED if name == row} for row in DETECTORS}
    linear = {name for name, loss in LOSSES.items() if loss.head(8, C).is_linear}
    assert "softmax" in linear
    assert not linear & {"isomax", "dismax", "scaledcosine", "godin", "duq", "sngp"}
    assert accepted == {
        name: linear if name in ("vim", "ash_b", "ash_s", "scale") else set(LOSSES)
        for name in DETECTORS
    }
    assert not any(row.refuses(nn.Linear(8, C)) for row in DETECTORS.values())
    assert (
        DETECTORS["vim"].refuses(nn.Sequential(nn.Linear(8, C), nn.Tanh())) == "needs a linear head"
    )


def test_an_unknown_name_raises_an_error_with_the_choices():
    assert get_detector("knn") is DETECTORS["knn"]
    for name in ("nothing", "ash"):  # ash_s was named "ash" before
        with pytest.raises(
            ValueError,
            match=rf"'{name}': choose from maxlogit, energy.*ash_b, ash_s.*preprocessing",
        ):
            get_detector(name)


def test_no_two_detectors_have_the_same_title():
    assert len({row.title for row in DETECTORS.values()}) == len(DETECTORS)


@pytest.mark.parametrize(
    "name", [name for name, row in DETECTORS.items() if row.needs == "features"]
)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_fitting_to_features_that_are_not_finite_is_an_error(name, bad):
    head, features, labels = linear_head(12), random_features(80, 12), torch.arange(80) % C
    fitted = DETECTORS[name].fit(feature_data(features, head, labels))
    assert fitted(feature_set(torch.zeros(3, 12), head)).isfinite().all()
    features[5, 3] = bad
    if name not in ("ash_b", "ash_s", "scale"):  # these use no training features
        with pytest.raises(ValueError, match="not all finite"):
            DETECTORS[name].fit(feature_data(features, head, labels))


@pytest.mark.parametrize(
    ("name", "loss"), [pair for pair in ACCEPTED if pair[1] in ("softmax", "isomax", "godin")]
)
def test_an_image_with_a_nan_gets_the_score_nan_and_changes_no_other_score(name, loss):
    data = data_for(name, loss)
    fitted, network = DETECTORS[name].fit(data), data.network
    inputs = torch.cat(list(network_set(network, 2, 33).batches()))

    def scores(inputs):
        with torch.no_grad():
            features = network.forward_features(inputs)
            outputs = {"features": features, **network.classifier.named_outputs(features)}
        return fitted(SetOutputs(outputs, lambda: inputs.split(10)))

    expected = scores(inputs)
    whole_batch = [*range(10), 32]
    for rows in ([4], whole_batch, list(range(33))):
        with_nan = inputs.clone()
        with_nan[rows, 1, 2, 3] = math.nan
        result = scores(with_nan)
        others = [i for i in range(33) if i not in rows]
        assert result[rows].isnan().all()
        torch.testing.assert_close(result[others], expected[others])


@pytest.mark.parametrize(
    "name", [name for name, row in DETECTORS.items() if row.needs != "network"]
)
def test_half_precision_outputs_get_the_scores_of_float64(name):
    head, features = linear_head(12), random_features(80, 12)
    outputs = {"features": features.bfloat16(), "logits": head(features).bfloat16()}

    def scores(dtype):
        images = SetOutputs(
            {name: output.to(dtype) for name, output in outputs.items()},
            lambda: [],
            torch.arange(80) % C,
        )
        return DETECTORS[name].fit(FitData(None, head, images, images, STD))(images)

    torch.testing.assert_close(scores(torch.bfloat16), scores(torch.float64), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name, row in DETECTORS.items() if row.needs != "logits"])
def test_fit_data_without_what_the_detector_needs_is_an_error(name):
    images = SetOutputs({}, lambda: [], torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="this detector needs"):
        DETECTORS[name].fit(FitData(None, None, None, images, STD))
