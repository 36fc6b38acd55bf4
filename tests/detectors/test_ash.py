"""ASH and SCALE, against their definitions and pytorch-ood 0.4."""

import math

import numpy as np
import pytest
import torch
from pytorch_ood import detector as pytorch_ood

from detectors import DETECTORS
from detectors.ash import ash_b, ash_s
from detectors.scale import scaled
from tests.detectors.sets import (
    feature_data,
    feature_set,
    linear_head,
    random_features,
    seeded_generator,
)


def test_ash_and_scale_of_five_features_by_hand():
    features = torch.tensor([[1.0, 3.0, 0.0, 4.0, 2.0]])  # their sum is 10
    # 60 % of five features, which is 3, are pruned. The features 3 and 4 stay.
    assert ash_b(features, 60).tolist() == [[0, 5, 0, 5, 0]]
    factor = math.exp(10 / 7)
    torch.testing.assert_close(ash_s(features, 60), torch.tensor([[0, 3, 0, 4, 0]]) * factor)
    torch.testing.assert_close(scaled(features, 60), features * factor)
    # 50 % of five is 2.5 and 10 % is 0.5. They are rounded to the even numbers 2 and 0. With 0 the
    # feature 0 is among the largest, too.
    torch.testing.assert_close(ash_b(features, 50), torch.tensor([[0, 1, 0, 1, 1]]) * (10 / 3))
    torch.testing.assert_close(scaled(features, 50), features * math.exp(10 / 9))
    assert ash_b(features, 10).tolist() == [[2, 2, 2, 2, 2]]
    # 90 % of five is 4.5, which is rounded to the even 4. One feature always stays.
    for percentile in (90, 100):
        assert ash_b(features, percentile).tolist() == [[0, 0, 0, 10, 0]]


def shaped_by_hand(f, percent, pruned):
    """Return ASH-S (pruned) or SCALE of one vector, by sorting it."""
    order = np.argsort(f)
    cut = round(len(f) * percent / 100)
    factor = np.exp(f.sum() / f[order[cut:]].sum())
    out = f * factor
    if pruned:
        out[order[:cut]] = 0
    return out


@pytest.mark.parametrize("d", [20, 64, 128, 342, 512])
def test_ash_and_scale_equal_their_definitions(d):
    features = torch.rand(30, d, generator=seeded_generator(), dtype=torch.float64)
    for function, percent, pruned in ((ash_s, 90, True), (scaled, 85, False)):
        expected = [shaped_by_hand(f, percent, pruned) for f in features.numpy()]
        np.testing.assert_allclose(function(features), expected, rtol=1e-12)
    count = d - round(0.9 * d)
    assert ((ash_s(features) > 0).sum(1) == count).all()
    values = ash_b(features).sort(1, descending=True).values
    torch.testing.assert_close(
        values[:, :count], (features.sum(1, keepdim=True) / count).expand(-1, count)
    )
    assert (values[:, count:] == 0).all()
    assert (ash_b(features) > 0).equal(ash_s(features) > 0)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("ash_b", lambda head: pytorch_ood.ASH(lambda x: x, head, variant="ash-b", percentile=0.9)),
        ("ash_s", lambda head: pytorch_ood.ASH(lambda x: x, head, variant="ash-s", percentile=0.9)),
        ("scale", lambda head: pytorch_ood.SCALE(lambda x: x, head, percentile=0.85)),
    ],
)
def test_ash_and_scale_equal_pytorch_ood(name, theirs):
    head = linear_head(20)  # 90 % and 85 % of 20 are whole numbers
    train, test = random_features(50, 20), random_features(40, 20, seed=1)
    scores = DETECTORS[name].fit(feature_data(train, head))(feature_set(test))
    with torch.no_grad():
        expected = theirs(lambda maps: head(maps.flatten(1))).predict_feature_maps(
            test[:, :, None, None]
        )
    # Theirs are in float32, where a score near 0 has few digits.
    np.testing.assert_allclose(scores, -expected, rtol=1e-5, atol=1e-6)
