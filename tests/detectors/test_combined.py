"""The combined score, against its definition."""

import math

import numpy as np
import pytest
import torch

from detectors import DETECTORS, FitData
from detectors.combined import Combined, LogP, fit_knn_of_sample
from detectors.contract import Score
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


def test_a_held_out_image_is_ranked_as_a_new_one_would_be():
    """The others are counted and the new image itself, of n + 1."""
    scores = [3.0, 1.0, 1.0, math.nan, 2.0]
    score = Combined(
        a=LogP(GivenScore(0), torch.tensor(scores)), b=LogP(GivenScore(1), torch.arange(5.0))
    )
    others = [3, 1, 1, None, 2]  # with a score ≤ its own; NaN is not
    for i, (found, lower) in enumerate(zip(score.held_out_scores().tolist(), others, strict=True)):
        if lower is None:
            assert math.isnan(found)
        else:
            assert found == pytest.approx(math.log((1 + lower) / 6) + math.log((1 + i) / 6))


class GivenScore(Score):
    """One of the features."""

    def __init__(self, number):
        super().__init__(number=number)

    def forward(self, outputs, head):
        return outputs["features"][:, self.number]


@pytest.mark.parametrize("alike", [False, True])
def test_the_threshold_of_few_held_out_images_keeps_its_promise_for_new_ones(alike):
    """Two of 21 images are below the third lowest, so 19/21 reach the second lowest or more."""
    generator = torch.Generator().manual_seed(0)
    accepted = []
    for _ in range(600):
        features = torch.randn(220, 1 if alike else 3, generator=generator).expand(-1, 3)
        held_out, fresh = features[:20], features[20:]
        members = {name: LogP(GivenScore(i), held_out[:, i]) for i, name in enumerate("abc")}
        score = Combined(**members)
        threshold = score.held_out_scores().sort().values[1]
        accepted.append((score({"features": fresh}, None) >= threshold).double().mean().item())
    deviation = np.std(accepted) / math.sqrt(len(accepted))
    assert np.mean(accepted) > 19 / 21 - 3 * deviation
    assert np.mean(accepted) < 0.96


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
