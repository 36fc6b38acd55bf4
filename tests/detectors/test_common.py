"""What several detectors share."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from detectors.common import energies
from losses import LOSSES
from tests.detectors.sets import C, head_maker, linear_head, random_features


def test_energies_of_many_features_are_computed_in_pieces():
    head, features = linear_head(6), random_features(3000, 6).double()
    expected = logsumexp(
        features.numpy() @ head.weight.detach().double().numpy().T
        + head.bias.detach().double().numpy(),
        axis=1,
    )
    rows = []
    head.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    np.testing.assert_allclose(energies(head, features), expected, rtol=1e-12)
    assert sum(rows) == 3000
    assert max(rows) <= 1024


@pytest.mark.parametrize("loss", LOSSES)
def test_is_linear_is_true_for_linear_heads_only(loss):
    head = head_maker(loss)(10, C).eval()
    one, other, none = random_features(20, 10), random_features(20, 10, seed=1), torch.zeros(20, 10)
    linear = torch.allclose(head(one + other) - head(other), head(one) - head(none), atol=1e-4)
    assert head.is_linear is linear
