"""Input pre-processing for the head's own score."""

from copy import deepcopy

import pytest
import torch

from detectors import DETECTORS
from detectors.preprocessing import fit_preprocessing
from losses import LOSSES
from tests.detectors.sets import STD, network_set, untrained_data


@pytest.mark.parametrize("loss", LOSSES)
def test_epsilon_0_gives_the_heads_own_score(loss):
    data = untrained_data(loss)
    test = network_set(data.network, 2, 60)
    own = data.head.scores({name: value.double() for name, value in test.outputs.items()})
    torch.testing.assert_close(
        fit_preprocessing(data, epsilon=0.0)(test), own, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_the_score_is_that_of_the_perturbed_images(loss):
    data = untrained_data(loss, torch.float64)
    test = network_set(data.network, 2, 60)
    assert DETECTORS["preprocessing"].fit is fit_preprocessing
    fitted = fit_preprocessing(data, epsilon=0.01)
    copy, x = deepcopy(data.network), torch.cat(list(test.batches())).requires_grad_()

    def own(x):
        return copy.classifier.scores(copy.classifier.named_outputs(copy.forward_features(x)))

    own(x).sum().backward()
    with torch.no_grad():
        expected = own(x + 0.01 * x.grad.sign() / torch.tensor(STD, dtype=x.dtype).view(1, 3, 1, 1))
    torch.testing.assert_close(fitted(test), expected, rtol=1e-10, atol=1e-10)
