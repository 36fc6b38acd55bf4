"""Our detectors as detectors of pytorch-ood, and its detectors on our networks."""

import sys

import pytest
import torch
from pytorch_ood import api
from pytorch_ood import detector as package
from pytorch_ood.metrics import OODMetrics
from sklearn.metrics import roc_auc_score

from dismax.detector import Detector
from dismax.pytorch_ood import as_pytorch_ood
from tests.detectors.sets import network_set, trained_data


@pytest.mark.parametrize("score", ["own", "combined"])
def test_the_package_gets_the_scores_of_a_detector_with_the_other_sign(score):
    detector = Detector.load("cifar10", score=score)
    torch.manual_seed(0)
    images = torch.randint(256, (24, 3, 32, 32), dtype=torch.uint8)
    theirs = as_pytorch_ood(detector)
    assert isinstance(theirs, api.Detector)
    scores = theirs.fit(None)(images)
    torch.testing.assert_close(scores, -detector(images).scores)
    assert not scores.requires_grad
    labels = torch.arange(24) % 3 - 1
    metrics = OODMetrics()
    metrics.update(scores, labels)
    expected = roc_auc_score(labels < 0, scores.double())
    assert metrics.compute()["AUROC"] == pytest.approx(expected, abs=1e-6)


def test_its_detectors_take_our_networks_as_they_are():
    data = trained_data()
    inputs = torch.cat(list(network_set(data.network, 2, 20).batches()))
    energy = package.EnergyBased(data.network)(inputs)
    torch.testing.assert_close(energy, -data.network(inputs).logsumexp(1))
    she = package.SHE(data.network.forward_features, data.network.classifier)
    train = data.train.outputs["features"]
    she.fit_features(train, data.train.labels)
    features = data.network.forward_features(inputs)
    torch.testing.assert_close(she(inputs), she.predict_features(features))


def test_a_missing_package_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_ood.api", None)
    with pytest.raises(ValueError, match="as_pytorch_ood needs the package pytorch-ood: pip "):
        as_pytorch_ood(Detector.load("cifar10"))
