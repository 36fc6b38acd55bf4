"""The combined score, against its definition."""

import math

import pytest
import torch

from detectors import DETECTORS, FitData
from detectors.combined import fit_knn_of_sample
from detectors.own import fit_own
from tests.detectors.sets import STD, network_set, untrained_data


@pytest.mark.parametrize("which", ["held out", "fresh"])
def test_the_combined_score_is_the_sum_of_the_logarithms_of_the_p_values(which):
    data = untrained_data("dismax")
    # A held-out image's score is equal to one of the held-out scores, which counts.
    images = data.calibration if which == "held out" else network_set(data.network, 2, 33)
    expected = torch.zeros(len(images.labels), dtype=torch.float64)
    for fitted in (fit_own(data), DETECTORS["knn"].fit(data), DETECTORS["mahalanobis"].fit(data)):
        held_out = fitted(data.calibration).tolist()
        for i, score in enumerate(fitted(images).tolist()):
            lower = sum(other <= score for other in held_out)
            expected[i] += math.log((1 + lower) / (1 + len(held_out)))
    fitted = DETECTORS["combined"].fit(data)
    torch.testing.assert_close(fitted(images), expected)
    assert fitted.parameters == {"members": "own, knn, mahalanobis", "images": 70}


def test_the_own_score_is_the_heads_at_temperature_1():
    data = untrained_data("dismax")
    images = network_set(data.network, 2, 33)
    expected = data.head.scores({k: v for k, v in images.outputs.items() if k != "features"})
    torch.testing.assert_close(fit_own(data)(images), expected.double(), rtol=1e-5, atol=1e-6)


def test_a_percentile_of_held_out_images_accepts_that_share_of_fresh_ones():
    """The held-out images are ranked among themselves, fresh ones among them."""
    data = untrained_data("dismax")
    held_out, fresh = (network_set(data.network, seed, 2000) for seed in (1, 5))
    data = FitData(data.network, data.head, data.train, held_out, STD)
    fitted = DETECTORS["combined"].fit(data)
    threshold = fitted(held_out).quantile(0.05)
    accepted = (fitted(fresh) >= threshold).double().mean()
    deviation = math.sqrt(2 * 0.95 * 0.05 / 2000)  # of both sets
    assert abs(accepted - 0.95) < 4 * deviation


def test_knn_compares_with_a_sample_of_many_training_images():
    data = untrained_data("dismax")
    train = network_set(data.network, 0, 6000)
    sample = fit_knn_of_sample(FitData(data.network, data.head, train, data.calibration, STD))
    assert len(sample.deployable.bank) == 5000
    # k is 50 of 6,000 images, so 42 of 5,000.
    assert sample.parameters == {"k": 42}
    whole = DETECTORS["knn"].fit(FitData(data.network, data.head, train, data.calibration, STD))
    scores = torch.stack([fitted(data.calibration) for fitted in (sample, whole)])
    assert torch.corrcoef(scores)[0, 1] > 0.99
