"""The whole path of a new user: another network, our head, training, calibration, ONNX."""

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from dismax.calibration import fit_temperature
from sklearn.datasets import load_digits
from torch.nn import functional as F

from dismax import losses
from dismax.detector import Detector
from dismax.export import OUTPUTS, to_onnx

MEAN, STD = 0.3, 0.38


def load_pixels():
    """The digits as uint8 [N, 3, 32, 32], and their labels."""
    digits = load_digits()
    pixels = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None].expand(-1, 3, -1, -1)
    pixels = (F.interpolate(pixels, size=32) * 255).to(torch.uint8)
    return pixels, torch.tensor(digits.target)


def normalized(pixels):
    return (pixels / 255 - MEAN) / STD


def train(network, head, pixels, labels, epochs=3):
    criterion = losses.DisMaxLossSecondPart(head)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    for _ in range(epochs):
        for inputs, targets in zip(pixels.split(64), labels.split(64), strict=True):
            inputs, targets = criterion.preprocess(normalized(inputs), targets)
            loss = criterion(network(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def calibrate(network, head, pixels, labels):
    network.eval()
    head.temperature.fill_(fit_temperature(network(normalized(pixels)), labels))
    head.set_thresholds(head.scores(network(normalized(pixels))))


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
def test_a_resnet18_learns_the_digits_and_becomes_onnx(tmp_path):
    torch.manual_seed(0)
    pixels, labels = load_pixels()
    held_out, held_out_labels = pixels[1280:], labels[1280:]
    network = torchvision.models.resnet18()
    head = losses.replace_classifier(network, losses.DisMaxLossFirstPart, num_classes=10)
    train(network, head, pixels[:1280], labels[:1280])
    calibrate(network, head, held_out, held_out_labels)

    class_names = [str(number) for number in range(10)]
    detector = Detector(network, (MEAN,) * 3, (STD,) * 3, class_names)
    found = detector(held_out)
    accuracy = (found.classes == held_out_labels).float().mean()
    assert accuracy > 0.8  # after sixty steps
    assert abs(found.probabilities.amax(1).mean() - accuracy) < 0.1
    assert found.accepted.float().mean() >= 0.94

    to_onnx(detector, tmp_path / "detector.onnx", size=(32, 32))
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    outputs = session.run(list(OUTPUTS), {"images": held_out.numpy()})
    values = dict(zip(OUTPUTS, outputs, strict=True))
    np.testing.assert_allclose(values["probabilities"], found.probabilities, atol=1e-4)
    np.testing.assert_allclose(values["score"], found.scores, rtol=1e-3, atol=1e-3)
