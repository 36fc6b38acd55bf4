"""Scores that a detector is deployed with: fitted, saved with the weights, and loaded again."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from detectors import DETECTORS, FitData, NotApplicable, Score, SetOutputs
from detectors.saved import pack, unpack
from dismax import archive
from dismax.detector import Detector
from dismax.saved import add_scores, load_network
from dismax.score import DeployedScore, fit_to_outputs
from losses import DisMaxLossFirstPart
from losses.thresholds import percentiles
from tests.detectors.sets import MEAN, STD, C, network_set, trained_data, untrained_data
from tests.finished_runs import model_file_content

NAMES = [name for name, row in DETECTORS.items() if row.needs != "network"]
LINEAR = [name for name in NAMES if DETECTORS[name].refuses(nn.Identity())]


def detector_of(data, score):
    """A detector of the network of some fit data, whose head has thresholds too."""
    network = copy.deepcopy(data.network)
    network.classifier.temperature.fill_(0.5)
    network.classifier.set_thresholds(torch.arange(100.0))
    return Detector(network, MEAN, STD, [str(number) for number in range(C)], score=score)


def pixels_of(images):
    inputs = torch.cat(list(images.batches()))
    return (inputs * torch.tensor(STD).view(-1, 1, 1) + torch.tensor(MEAN).view(-1, 1, 1)).clamp(
        0, 1
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_deployed_detector_scores_as_the_fitted_one_and_accepts_the_promised_share(name):
    # float32 rounds many of SoftMax's largest probabilities to 1, so that their ranks differ.
    data = trained_data("dismax" if name == "combined" else "softmax")
    score = fit_to_outputs(name, data, 0.5)
    fitted = DETECTORS[name].fit(data)
    detector = detector_of(data, score)
    held_out = detector(pixels_of(data.calibration))
    images = network_set(data.network, 2, 33)
    found = detector(pixels_of(images))
    tolerance = 0.1 if name == "combined" else 1e-3  # a rank can move by one
    np.testing.assert_allclose(found.scores, fitted(images), rtol=1e-3, atol=tolerance)
    assert (found.accepted == (found.scores >= score.threshold(0.95))).all()
    # Rounding can move the few scores that lie at the threshold.
    assert held_out.accepted.double().mean() >= 0.94
    # The head's own thresholds, 0 to 99, play no part.
    assert detector.threshold(0.95) == score.threshold(0.95) != 5


@pytest.mark.parametrize("name", NAMES)
def test_a_score_comes_back_from_a_file_bit_for_bit(name, tmp_path):
    data = untrained_data("softmax")
    score = fit_to_outputs(name, data, 0.5)
    archive.save(tmp_path / "score.pt", score.pack())
    with open(tmp_path / "score.pt", "rb") as file:
        loaded = DeployedScore.unpack(name, archive.load(file), data.head)
    images = network_set(data.network, 2, 33).outputs
    assert loaded.of(images, data.head).equal(score.of(images, data.head))
    assert loaded.thresholds.equal(score.thresholds)


class Half(Score):
    """A score of a plugin."""

    def forward(self, outputs, head):
        return outputs["logits"].amax(1) * self.factor


def test_a_score_of_a_plugin_comes_back_from_a_file():
    assert isinstance(unpack(pack(Half(factor=0.5))), Half)


def test_a_score_may_not_have_the_name_of_one_of_ours():
    with pytest.raises(TypeError, match=r"detectors\.knn has a score KNN too: rename one"):
        type("KNN", (Score,), {})


def test_an_unknown_kind_of_score_is_named():
    with pytest.raises(ValueError, match="its score Magic is not known: name the plugin that"):
        unpack({"kind": "Magic"})
    with pytest.raises(ValueError, match="a score of kind KNN has other values: bank"):
        unpack({"kind": "KNN", "bank": torch.zeros(2, 2)})


def test_a_score_that_needs_gradients_or_another_head_is_refused_by_name():
    with pytest.raises(ValueError, match="odin needs the network's gradients or layers, so"):
        fit_to_outputs("odin", untrained_data(), 1)
    with pytest.raises(ValueError, match="unknown detector 'magic'"):
        fit_to_outputs("magic", untrained_data(), 1)
    with pytest.raises(NotApplicable, match="vim needs a linear head"):
        fit_to_outputs("vim", untrained_data("dismax"), 1)


def test_an_image_without_finite_features_is_not_accepted():
    data = untrained_data("softmax")
    score = fit_to_outputs("mahalanobis", data, 1)
    outputs = {name: value.clone() for name, value in data.calibration.outputs.items()}
    outputs["features"][3, 2] = torch.inf
    scores = score(outputs, data.head)
    assert scores.isnan().nonzero().flatten().tolist() == [3]


def model_file(path, *scores):
    """Write a model.pt of DisMax, and add scores to it."""
    archive.save(path, model_file_content("dismax"))
    add_scores(path, scores)
    return path


def score_for_file(name="mahalanobis"):
    """A score for the network of such a file, fitted to random images."""
    content = model_file_content("dismax")
    features = torch.randn(60, content["state_dict"]["classifier.prototypes"].shape[1])
    head = DisMaxLossFirstPart(features.shape[1], len(content["classes"])).eval()
    with torch.no_grad():
        outputs = {"features": features, **head.named_outputs(features)}
    images = SetOutputs(outputs, labels=torch.arange(60) % len(content["classes"]))
    return fit_to_outputs(name, FitData(None, head, images, images, STD), 0.3)


def test_a_file_keeps_the_scores_that_were_added_and_the_caller_chooses(tmp_path):
    mahalanobis, combined = score_for_file("mahalanobis"), score_for_file("combined")
    path = model_file(tmp_path / "model.pt", mahalanobis)
    assert Detector.load(path).score is None
    assert Detector.load(path, score="mahalanobis").threshold() == mahalanobis.threshold(0.95)
    add_scores(path, [combined])
    assert Detector.load(path).threshold() == combined.threshold(0.95)
    assert Detector.load(path, score="own").score is None
    with pytest.raises(
        ValueError, match=r"no score knn, only own, mahalanobis, combined: .*--deploy knn"
    ):
        Detector.load(path, score="knn")


CHANGES = {
    "another version": (lambda s: s.update(version=9), "computed in another way now"),
    "NaN": (lambda s: s["score"]["means"].fill_(torch.nan), "score.means that is not finite"),
    "of other features": (
        lambda s: s["score"].update(shift=torch.zeros(3)), "no run's network, or damaged"
    ),
    "few thresholds": (lambda s: s.update(thresholds=torch.zeros(3)), "a threshold for each"),
    "no kind": (lambda s: s["score"].pop("kind"), "it has a score without a class"),
    "a plugin's kind": (
        lambda s: s["score"].update(kind="Magic"), "model.pt: its score Magic is not known: name"
    ),
    "larger than the file": (
        lambda s: s["score"].update(root=torch.zeros(1).expand(10**6, 10**6)), "weights are larger"
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_damaged_score_is_refused_in_one_line(tmp_path, change):
    path = model_file(tmp_path / "model.pt", score_for_file())
    with open(path, "rb") as file:
        content = archive.load(file)
    damage, message = CHANGES[change]
    damage(content["scores"]["mahalanobis"])
    archive.save(path, content)
    with pytest.raises(ValueError, match=message) as caught:
        load_network(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_a_score_is_computed_in_float32(name):
    data = trained_data("softmax")
    score = fit_to_outputs(name, data, 0.5)
    expected = score(data.calibration.outputs, data.head)
    with torch.autocast("cpu", torch.bfloat16):
        found = score(data.calibration.outputs, data.head)
    assert torch.equal(found, expected)


def test_the_thresholds_of_a_combined_score_are_of_images_ranked_among_the_others():
    data = untrained_data("dismax")
    deployed = fit_to_outputs("combined", data, 1.0)
    assert deployed.thresholds.equal(percentiles(deployed.score.held_out_scores()))
    # Ranked among all, themselves too, they score higher.
    ranked_among_all = percentiles(deployed.of(data.calibration.outputs, data.head))
    assert (deployed.thresholds < ranked_among_all).any()
    fewer = {name: values[:-1] for name, values in data.calibration.outputs.items()}
    with pytest.raises(ValueError, match=r"combined was fitted with \d+ held-out images, got"):
        deployed.set_thresholds(fewer, data.head)
