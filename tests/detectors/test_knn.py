"""KNN, against brute force and pytorch-ood 0.4."""

import numpy as np
import pytest
import torch
from pytorch_ood import detector as pytorch_ood
from scipy.spatial.distance import cdist

from detectors.knn import fit_knn
from tests.detectors.sets import C, feature_data, feature_set, linear_head, random_features


def test_knn_equals_brute_force_and_pytorch_ood():
    train, test = random_features(200, 12), 5 * random_features(40, 12, seed=1)
    scores = fit_knn(feature_data(train), k=50)(feature_set(test))
    directions = [
        f.numpy() / np.linalg.norm(f.numpy(), axis=1, keepdims=True)
        for f in (train.double(), test.double())
    ]
    np.testing.assert_allclose(
        scores, -np.sort(cdist(directions[1], directions[0]), axis=1)[:, 49], rtol=1e-7
    )
    theirs = pytorch_ood.KNN(None, k=50).fit_features(train.double(), torch.zeros(200).long())
    np.testing.assert_allclose(scores, -theirs.predict_features(test.double()), rtol=1e-5)


def test_knn_needs_at_least_k_training_images():
    train = random_features(50, 6)
    directions = (train / train.norm(dim=1, keepdim=True)).numpy()
    farthest = -cdist(directions, directions).max(1)
    np.testing.assert_allclose(
        fit_knn(feature_data(train), k=50)(feature_set(train)), farthest, rtol=1e-5
    )
    with pytest.raises(ValueError, match="KNN needs 50 training images or more, got 49"):
        fit_knn(feature_data(train[:49]), k=50)


@pytest.mark.parametrize(("images", "k"), [(1000, 50), (300, 300 // (2 * C)), (3, 1)])
def test_the_default_k_is_at_most_half_the_images_of_a_class(images, k):
    assert fit_knn(feature_data(random_features(images, 6), linear_head(6))).parameters == {"k": k}
