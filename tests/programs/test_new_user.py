"""A new user's whole path: another's network, our head, training, calibration, a threshold, and
ONNX.
"""

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


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
def test_a_resnet18_learns_the_digits_and_leaves_as_onnx(tmp_path):
    torch.manual_seed(0)
    digits = load_digits()
    pixels = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None].expand(-1, 3, -1, -1)
    pixels, labels = (
        (F.interpolate(pixels, size=32) * 255).to(torch.uint8),
        torch.tensor(digits.target),
    )
    seen, held_out = slice(0, 1280), slice(1280, None)
    mean, std = (0.3, 0.3, 0.3), (0.38, 0.38, 0.38)

    network = torchvision.models.resnet18()
    head = losses.replace_classifier(network, losses.DisMaxLossFirstPart, num_classes=10)
    criterion = losses.DisMaxLossSecondPart(head)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4
    )

    def normalized(images):
        return (images / 255 - 0.3) / 0.38

    for inputs, targets in 3 * list(
        zip(pixels[seen].split(64), labels[seen].split(64), strict=True)
    ):
        inputs, targets = criterion.preprocess(normalized(inputs), targets)
        loss = criterion(network(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    network.eval()
    with torch.no_grad():
        head.temperature.fill_(
            fit_temperature(network(normalized(pixels[held_out])), labels[held_out])
        )
        head.set_thresholds(head.scores(network(normalized(pixels[held_out]))))
    detector = Detector(network, mean, std, [str(number) for number in range(10)])
    found = detector(pixels[held_out])
    assert (found.classes == labels[held_out]).float().mean() > 0.8  # sixty steps
    confident = found.probabilities.amax(1).mean()
    assert abs(confident - (found.classes == labels[held_out]).float().mean()) < 0.1
    assert found.accepted.float().mean() >= 0.94

    to_onnx(detector, tmp_path / "detector.onnx", size=(32, 32))
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    values = dict(
        zip(OUTPUTS, session.run(list(OUTPUTS), {"images": pixels[held_out].numpy()}), strict=True)
    )
    np.testing.assert_allclose(values["probabilities"], found.probabilities, atol=1e-4)
    np.testing.assert_allclose(values["score"], found.scores, rtol=1e-3, atol=1e-3)
