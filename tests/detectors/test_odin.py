"""ODIN, against its definition and pytorch-ood 0.4."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from pytorch_ood import detector as pytorch_ood
from scipy.special import softmax

from detectors import DETECTORS
from detectors.odin import fit_odin
from tests.detectors.sets import STD, network_set, untrained_data


def test_odin_without_perturbation_at_temperature_1_is_mps():
    data = untrained_data()
    test = network_set(data.network, 2, 60)
    scores = fit_odin(data, epsilon=0.0, temperature=1.0)(test)
    mps = softmax(test.outputs["logits"].double().numpy(), axis=1).max(1)
    np.testing.assert_allclose(np.exp(scores.numpy()), mps, rtol=1e-5)
    np.testing.assert_array_equal(np.argsort(scores.numpy()), np.argsort(mps))


@pytest.mark.parametrize("temperature", [1.0, 7.0, 1000.0])
def test_odin_equals_pytorch_ood(temperature):
    data = untrained_data(dtype=torch.float64)
    test = network_set(data.network, 2, 60)
    fitted = fit_odin(data, epsilon=0.03, temperature=temperature)
    assert fitted.parameters == {"epsilon": 0.03, "temperature": temperature}
    theirs = pytorch_ood.ODIN(
        deepcopy(data.network), eps=0.03, temperature=temperature, norm_std=list(STD)
    )
    expected = torch.cat([-theirs.predict(inputs) for inputs in test.batches()])
    np.testing.assert_allclose(
        np.exp(fitted(test).numpy() / temperature), expected.detach().numpy(), rtol=1e-10
    )
    assert DETECTORS["odin"].fit(data).parameters == {"epsilon": 0.0014, "temperature": 1000}


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_that_are_not_positive_are_refused(bad):
    with pytest.raises(ValueError, match=f"temperature.*got {bad}$"):
        fit_odin(untrained_data(), temperature=bad)
