"""What several detectors share."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from detectors import SetOutputs
from detectors.react import fit_react
from losses import LOSSES
from tests.detectors.sets import (
    C,
    feature_data,
    head_maker,
    linear_head,
    random_features,
)


def test_many_images_are_scored_in_pieces_and_in_float64():
    head, features = linear_head(6), random_features(3000, 6)
    rows, dtypes = [], set()

    class Noting(type(head)):
        def raw_logits(self, features):
            rows.append(len(features))
            dtypes.add(features.dtype)
            return super().raw_logits(features)

    head.__class__ = Noting
    fitted = fit_react(feature_data(features, head))
    clip = fitted.parameters["clip"]
    rows.clear()
    dtypes.clear()
    images = SetOutputs({"features": features}, lambda: [])
    weight, bias = (p.detach().double().numpy() for p in (head.weight, head.bias))
    expected = logsumexp(features.double().numpy().clip(max=clip) @ weight.T + bias, axis=1)
    np.testing.assert_allclose(fitted(images), expected, rtol=1e-12)
    assert sum(rows) == 3000
    assert max(rows) <= 1024
    assert dtypes == {torch.float64}


@pytest.mark.parametrize("loss", LOSSES)
def test_is_linear_is_true_for_linear_heads_only(loss):
    head = head_maker(loss)(10, C).eval()
    one, other, none = random_features(20, 10), random_features(20, 10, seed=1), torch.zeros(20, 10)
    linear = torch.allclose(head(one + other) - head(other), head(one) - head(none), atol=1e-4)
    assert head.is_linear is linear
