"""ReAct, against its definition and pytorch-ood 0.4."""

import numpy as np
import torch
from pytorch_ood import detector as pytorch_ood

from detectors.react import fit_react
from tests.detectors.sets import (
    feature_data,
    feature_set,
    linear_head,
    random_features,
    seeded_generator,
)


def test_react_clips_at_the_percentile_of_all_features():
    head = linear_head(20)
    train, test = random_features(200, 20), random_features(40, 20, seed=1)
    fitted = fit_react(feature_data(train, head))
    clip = fitted.parameters["clip"]
    assert (train > clip).sum() == train.numel() // 10
    assert fitted.parameters == {"percentile": 90, "images": "train", "clip": clip}
    with torch.no_grad():
        np.testing.assert_allclose(
            fitted(feature_set(test)),
            head(test.minimum(torch.tensor(clip))).logsumexp(1),
            rtol=1e-5,
        )
        theirs = pytorch_ood.ReAct(lambda x: x, head, percentile=0.9).fit_feature_maps(
            train, torch.zeros(200).long()
        )
        np.testing.assert_allclose(
            fitted(feature_set(test)), -theirs.predict_feature_maps(test), rtol=1e-5
        )


def test_react_accepts_more_features_than_quantile_of_older_pytorch():
    train = torch.rand(1, 1, generator=seeded_generator()).expand(2**16, 257)
    fitted = fit_react(feature_data(train, linear_head(257)))
    assert fitted.parameters["clip"] == train[0, 0]
