"""A run's network as a detector, in a checkout and installed."""

import pytest
import torch
import torchvision

import losses
from dismax.detector import Detector
from experiment import load_data
from utils import records
from utils.config import RunConfig

from .conftest import QUICK, record_of


@pytest.mark.parametrize("loss", ["softmax", "dismax", "scaledcosine", "godin_dropout", "duq", "sngp"])
def test_a_detector_says_what_the_run_recorded(run_main, tmp_path, loss):
    assert run_main("--loss", loss, *QUICK)[0] == 0
    record = record_of(tmp_path, loss)
    folder = tmp_path / "runs" / "digits" / "smallcnn" / loss / "1"
    kept, data = records.read_predictions(folder), load_data(RunConfig.from_json(record["config"]))
    detector = Detector.load(folder / records.MODEL)
    assert detector.class_names == data.train.classes
    for name, part in data.evaluation.items():
        found = detector(part.pixels)
        logits = torch.tensor(kept[name]["logits"]) / record["temperature"]["value"]
        torch.testing.assert_close(found.probabilities, logits.softmax(1), rtol=1e-4, atol=1e-5)
        assert found.classes.equal(found.probabilities.argmax(1))
        assert found.accepted.equal(found.scores >= detector.threshold(0.95))
    rate = detector(data.evaluation["validation"].pixels).accepted.float().mean()
    assert rate + 1 / len(data.evaluation["validation"]) >= 0.95  # rounding may move an image that lies on the threshold
    assert torch.equal(detector(part.pixels[:1] / 255).classes, found.classes[:1])  # floats, and a single image
    with pytest.raises(ValueError, match=r"tpr is a rate in \[0, 1\], got 2"):
        Detector.load(folder / records.MODEL, tpr=2)
    assert Detector.load(folder / records.MODEL, tpr=0.5)(part.pixels).accepted.sum() < found.accepted.sum()


def test_training_mode_leaves_the_calibration_alone(run_main, tmp_path):
    run_main(*QUICK)
    detector = Detector.load(tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.MODEL)
    images = torch.rand(3, 3, 8, 8)
    before = detector(images)
    detector.train()
    assert all(first.equal(second) for first, second in zip(before, detector(images), strict=True))


def test_a_network_of_torchvision_becomes_a_detector():
    model = torchvision.models.resnet18(num_classes=10)
    head = losses.replace_classifier(model, losses.DisMaxLossFirstPart)
    model.eval()
    pixels = torch.rand(20, 3, 32, 32)
    mean, std = (0.5, 0.4, 0.3), (0.3, 0.2, 0.1)
    with pytest.raises(RuntimeError, match="no thresholds"):
        Detector(model, mean, std)
    with torch.no_grad():
        outputs = model((pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
        head.set_thresholds(head.scores(outputs))
    detector = Detector(model, mean, std, tpr=0.9)
    found = detector(pixels)
    torch.testing.assert_close(found.probabilities, outputs.softmax(1))
    torch.testing.assert_close(found.scores, head.scores(outputs))
    assert 18 <= found.accepted.sum() <= 20
    assert model.fc is head  # the network itself is as it was
    with pytest.raises(ValueError, match="a network with one head of dismax.losses, ResNet has 0"):
        Detector(torchvision.models.resnet18(), mean, std)


@pytest.mark.parametrize("content", [b"", b"nothing", "other"])
def test_what_is_no_network_is_named(tmp_path, content):
    path = tmp_path / "model.pt"
    torch.save({"config": {}}, path) if content == "other" else path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is no run's network, or damaged"):
        Detector.load(path)


def test_a_flipped_bit_is_noticed(run_main, tmp_path):
    run_main(*QUICK)
    path = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.MODEL
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["state_dict"]["classifier.prototypes"]
    content[content.find(weights.numpy().tobytes())] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # it does not
    with pytest.raises(ValueError, match="damaged .*checksum"):
        Detector.load(path)
