"""Mahalanobis and Mahalanobis++, against SciPy and pytorch-ood 0.4."""

import numpy as np
import torch
from pytorch_ood import detector as pytorch_ood
from scipy.spatial.distance import mahalanobis

from detectors.mahalanobis import fit_mahalanobis, fit_mahalanobis_plus_plus
from tests.detectors.sets import C, feature_data, feature_set, random_features, seeded_generator


def test_mahalanobis_equals_scipy_and_pytorch_ood():
    train, test = random_features(200, 7), random_features(20, 7, seed=1)
    train[:100] += 1
    labels = torch.arange(200) // 50
    scores = fit_mahalanobis(feature_data(train, labels=labels))(feature_set(test))

    f = train.double().numpy()
    centred = np.concatenate([f[labels == c] - f[labels == c].mean(0) for c in range(C)])
    inverse = np.linalg.inv(np.cov(centred.T, bias=True))
    means = [f[labels == c].mean(0) for c in range(C)]
    expected = [
        -min(mahalanobis(row, mean, inverse) ** 2 for mean in means)
        for row in test.double().numpy()
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    # pytorch-ood has half the squared distance, in float32. Its Σ is the sum over the images; the
    # paper's is the mean.
    theirs = pytorch_ood.Mahalanobis(None).fit_features(train, labels)
    np.testing.assert_allclose(scores, -2 * 200 * theirs.predict_features(test), rtol=1e-3)


def test_mahalanobis_plus_plus_is_mahalanobis_of_features_of_length_1():
    train, test = random_features(200, 7), random_features(20, 7, seed=1)
    labels = torch.arange(200) // 50
    # The lengths of features, in training and afterwards, do not matter.
    longer = train * torch.rand(200, 1, generator=seeded_generator(2)) * 1e3
    fitted = fit_mahalanobis_plus_plus(feature_data(longer, labels=labels))
    f, z = (x.double().numpy() / np.linalg.norm(x.double(), axis=1)[:, None] for x in (train, test))
    centred = np.concatenate([f[labels == c] - f[labels == c].mean(0) for c in range(C)])
    inverse = np.linalg.inv(np.cov(centred.T, bias=True))
    means = [f[labels == c].mean(0) for c in range(C)]
    expected = [-min(mahalanobis(row, mean, inverse) ** 2 for mean in means) for row in z]
    np.testing.assert_allclose(fitted(feature_set(test)), expected, rtol=1e-5)
    np.testing.assert_allclose(fitted(feature_set(1e-3 * test)), expected, rtol=1e-5)


def test_images_of_a_class_that_differ_only_in_length_give_finite_scores():
    """All of their directions are equal, but for rounding."""
    labels = torch.arange(60) % 3
    classes = random_features(3, 5)
    train = classes[labels] * (1 + torch.rand(60, 1, generator=seeded_generator(1)))
    fitted = fit_mahalanobis_plus_plus(feature_data(train, labels=labels))
    scores = fitted(feature_set(random_features(20, 5, seed=2)))
    assert scores.abs().max() < 1e12


def test_empty_classes_and_constant_features_do_not_change_the_scores():
    train, test = random_features(60, 5), random_features(20, 5, seed=1)
    labels = torch.arange(60) % 2
    expected = fit_mahalanobis(feature_data(train, labels=labels))(feature_set(test))
    # Only the classes 1 and 4 have images.
    sparse = fit_mahalanobis(feature_data(train, labels=3 * labels + 1))(feature_set(test))
    torch.testing.assert_close(sparse, expected)
    constant, anything = torch.tensor([0.0, 2.0]).expand(60, 2), random_features(20, 2, seed=2)
    wider = fit_mahalanobis(feature_data(torch.cat([train, constant], 1), labels=labels))
    torch.testing.assert_close(wider(feature_set(torch.cat([test, anything], 1))), expected)


def test_scores_stay_accurate_if_classes_are_far_apart():
    spread = torch.randn(400, 3, generator=seeded_generator(), dtype=torch.float64)
    labels = torch.arange(400) % 40
    centres = 1e6 * torch.randn(40, 3, generator=seeded_generator(1), dtype=torch.float64)
    features = spread + centres[labels]
    scores = fit_mahalanobis(feature_data(features, labels=labels))(feature_set(features))
    means = torch.stack([spread[labels == c].mean(0) for c in range(40)])
    inverse = np.linalg.inv(np.cov((spread - means[labels]).T, bias=True))
    expected = [
        -(mahalanobis(row, means[c].numpy(), inverse) ** 2)
        for row, c in zip(spread.numpy(), labels, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_fewer_images_than_features_use_the_pseudo_inverse():
    train, test = random_features(10, 30).double(), random_features(20, 30, seed=1).double()
    scores = fit_mahalanobis(feature_data(train, labels=torch.zeros(10).long()))(feature_set(test))
    centred = train.numpy() - train.numpy().mean(0)
    inverse = np.linalg.pinv(centred.T @ centred / 10, rcond=1e-10, hermitian=True)
    expected = [-(mahalanobis(row, train.numpy().mean(0), inverse) ** 2) for row in test.numpy()]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_constant_training_features_give_the_score_0():
    constant = fit_mahalanobis(feature_data(torch.ones(10, 3), labels=torch.zeros(10).long()))
    assert constant(feature_set(torch.rand(5, 3))).tolist() == [0] * 5
