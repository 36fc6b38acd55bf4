"""ONNX and safetensors say what PyTorch says."""

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open

from dismax import export
from dismax.detector import Detector
from experiment import load_data
from losses import LOSSES
from models import build_model
from utils import records
from utils.config import RunConfig

from .conftest import QUICK, record_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def agree(detector, path, pixels):
    """The ONNX file's outputs for batches of several sizes are the detector's."""
    session = onnxruntime.InferenceSession(path)
    for batch in (pixels[:1], pixels):
        found = detector(batch)
        logits, probabilities, score, accepted = session.run(list(export.OUTPUTS), {"images": batch.numpy()})
        np.testing.assert_allclose(logits, found.logits, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(probabilities, found.probabilities, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(score, found.scores, rtol=1e-3, atol=1e-4)
        near = np.abs(found.scores.numpy() - float(detector.least)) < 1e-3  # rounding may move these across the threshold
        assert (accepted == found.accepted.numpy())[~near].all()


def test_a_runs_detector_exported_says_the_same_of_real_images(run_main, tmp_path):
    run_main(*QUICK)
    data = load_data(RunConfig.from_json(record_of(tmp_path)["config"]))
    detector = Detector.load(tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.MODEL)
    export.to_onnx(detector, tmp_path / "detector.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "detector.onnx"}  # weights inside
    agree(detector, tmp_path / "detector.onnx", data.evaluation["test"].pixels)
    outside = next(iter(data.outside.values()))[1].pixels
    agree(detector, tmp_path / "detector.onnx", outside)
    export.to_safetensors(detector, tmp_path / "detector.safetensors")
    with safe_open(tmp_path / "detector.safetensors", "pt") as kept:
        assert {name: kept.get_tensor(name).tolist() for name in kept.keys()} == {  # noqa: SIM118  # no mapping
            name: value.tolist() for name, value in detector.state_dict().items()
        }
        assert kept.metadata()["class_3"] == detector.class_names[3]


@pytest.mark.parametrize(
    ("model", "loss"),
    [("smallcnn", loss) for loss in LOSSES] + [(model, "dismax") for model in ("densenetbc22", "resnet10", "wideresnet101")],
)
def test_every_head_and_network_can_be_exported(tmp_path, model, loss):
    torch.manual_seed(0)
    row = LOSSES[loss]
    network = row.wrap(build_model(model, 5, row.head)).eval()
    network.classifier.temperature.fill_(0.7)
    network.classifier.thresholds.copy_(torch.linspace(-2, 2, len(network.classifier.thresholds)))
    detector = Detector(network, (0.5, 0.4, 0.3), (0.3, 0.2, 0.1))
    with pytest.raises(ValueError, match="does not know its images' size"):
        export.to_onnx(detector, tmp_path / "detector.onnx")
    export.to_onnx(detector, tmp_path / "detector.onnx", size=(16, 16))
    agree(detector, tmp_path / "detector.onnx", torch.randint(256, (5, 3, 16, 16), dtype=torch.uint8))
