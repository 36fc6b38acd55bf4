"""MaxLogit, energy and GEN, against their definitions and pytorch-ood 0.4."""

import numpy as np
import pytest
import torch
from pytorch_ood import detector as pytorch_ood
from scipy.special import logsumexp, softmax

from detectors import DETECTORS, FitData, SetOutputs
from tests.detectors.sets import STD, C, seeded_generator


def random_logits(n=40, c=C, spread=3.0):
    return torch.randn(n, c, generator=seeded_generator(), dtype=torch.float64) * spread


def scores(name, logits):
    images = SetOutputs({"logits": logits}, lambda: [])
    return DETECTORS[name].fit(FitData(None, None, None, images, STD))(images)


def test_maxlogit_and_energy_equal_their_definitions_and_pytorch_ood():
    logits = random_logits()
    np.testing.assert_array_equal(scores("maxlogit", logits), logits.numpy().max(1))
    np.testing.assert_allclose(
        scores("energy", logits), logsumexp(logits.numpy(), axis=1), rtol=1e-14
    )
    torch.testing.assert_close(
        scores("maxlogit", logits), -pytorch_ood.MaxLogit.score(logits), rtol=0, atol=0
    )
    torch.testing.assert_close(
        scores("energy", logits), -pytorch_ood.EnergyBased.score(logits), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize("c", [2, 10, 150])  # of 150 probabilities only 100 count
def test_gen_equals_its_definition_and_pytorch_ood(c):
    logits = random_logits(c=c, spread=1.0)
    p = np.sort(softmax(logits.numpy(), axis=1), axis=1)[:, -100:]
    np.testing.assert_allclose(scores("gen", logits), -((p * (1 - p)) ** 0.1).sum(1), rtol=1e-12)
    # pytorch-ood has the mean of the terms. Ours is the sum, as in the paper.
    torch.testing.assert_close(
        scores("gen", logits),
        -min(c, 100) * pytorch_ood.GEN.score(logits, gamma=0.1, M=100),
        rtol=1e-6,
        atol=0,
    )


def test_gen_distinguishes_probabilities_that_round_to_1():
    """pytorch-ood does not distinguish them, since it bounds p away from 0."""
    logits = torch.tensor([[40.0, 0.0, 0.0], [50.0, 0.0, 0.0], [60.0, 0.0, 0.0]])
    q = np.exp(-np.array([40.0, 50.0, 60.0]))  # the other two probabilities, to within 1e-17
    np.testing.assert_allclose(scores("gen", logits), -(2 * q**0.1 + (2 * q) ** 0.1), rtol=1e-12)
    assert scores("gen", torch.tensor([[3.0]])) == 0  # a single class
