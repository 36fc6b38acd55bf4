"""ONNX and safetensors say what PyTorch says."""

import importlib.util
import json
import resource

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import dismax
from dismax import export
from dismax.calibrated import CalibratedNetwork
from dismax.detector import Detector
from experiment import records
from experiment.config import RunConfig
from experiment.data import load_data
from losses import LOSSES, DisMaxLossFirstPart, SoftMaxLossFirstPart
from models import build_model
from tests.common import QUICK, record_of
from tests.dismax.networks import Ending, plainly

OTHER_LOSSES = sorted({*LOSSES} - {"dismax", "sngp"})
OTHER_NETWORKS = ("densenetbc22", "resnet10", "wideresnet101")

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def agree(detector, path, pixels):
    """The ONNX file's outputs for batches of several sizes are the detector's."""
    session = onnxruntime.InferenceSession(path)
    # A rank of the combined score can move by one where two scores are almost equal.
    combined = detector.score is not None and detector.score.name == "combined"
    tolerance = 0.1 if combined else 1e-4
    for batch in (pixels[:1], pixels):
        found = detector(batch)
        logits, probabilities, score, accepted = session.run(
            list(export.OUTPUTS), {"images": batch.numpy()}
        )
        np.testing.assert_allclose(logits, found.logits, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(probabilities, found.probabilities, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(score, found.scores, rtol=1e-3, atol=tolerance)
        # Rounding may move these across the threshold.
        near = np.abs(found.scores.numpy() - float(detector.least)) < 10 * tolerance
        assert (accepted == found.accepted.numpy())[~near].all()


def test_a_runs_detector_exported_says_the_same_of_real_images(run_main, tmp_path):
    run_main(*QUICK)
    data = load_data(RunConfig.from_json(record_of(tmp_path)["config"]))
    detector = Detector.load(
        tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.MODEL
    )
    export.to_onnx(detector, tmp_path / "detector.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "detector.onnx"}  # weights inside
    agree(detector, tmp_path / "detector.onnx", data.evaluation["test"].pixels)
    outside = next(iter(data.ood.values()))[1].pixels
    agree(detector, tmp_path / "detector.onnx", outside)
    export.to_safetensors(detector, tmp_path / "detector.safetensors")
    loaded = Detector.load(tmp_path / "detector.safetensors")
    assert loaded(outside).scores.equal(detector(outside).scores)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ("smallcnn", "dismax"),
        ("smallcnn", "sngp"),
        *(pytest.param("smallcnn", loss, marks=pytest.mark.slow) for loss in OTHER_LOSSES),
        *(pytest.param(model, "dismax", marks=pytest.mark.slow) for model in OTHER_NETWORKS),
    ],
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
    agree(
        detector, tmp_path / "detector.onnx", torch.randint(256, (5, 3, 16, 16), dtype=torch.uint8)
    )


class Roots(nn.Module):
    """A network for grey images of 4×6 pixels. Features are NaN where the first pixel is dark."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(24, 8)
        self.fc = SoftMaxLossFirstPart(8, 3)

    def forward(self, images):
        pixels = images.flatten(1)
        return self.fc(self.layer(pixels).relu() + (pixels[:, :1] - 0.2).sqrt())


def bright(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(60, 256, (count, 1, 4, 6), dtype=torch.uint8, generator=generator)


# Every score's own graph is tested in detectors/test_deployable.py.
@pytest.fixture(scope="module", params=["combined", "knn", "own"])
def deployed(request, tmp_path_factory):
    """A detector with one of the scores, and its ONNX file."""
    torch.manual_seed(0)
    network = Roots().eval()
    loaders = [[(bright(60, seed) / 255, torch.arange(60) % 3)] for seed in (0, 1)]
    score = dismax.fit_score(network, request.param, *loaders)
    detector = Detector(network, [0.0], [1.0], score=score)
    path = tmp_path_factory.mktemp("deployed") / "detector.onnx"
    export.to_onnx(detector, path, size=(4, 6))
    return detector, path


def test_every_score_is_the_same_in_onnx(deployed):
    detector, path = deployed
    agree(detector, path, bright(7, 2))
    said = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert said["score"] == detector.score.name


def test_an_image_with_features_of_nan_is_not_accepted_in_onnx(deployed):
    _, path = deployed
    pixels = bright(7, 2)
    pixels[3, 0, 0, 0] = 0
    score, accepted = onnxruntime.InferenceSession(path).run(
        ["score", "accepted"], {"images": pixels.numpy()}
    )
    assert np.isnan(score).nonzero()[0].tolist() == [3]
    assert not accepted[3]
    assert accepted.any()


def test_a_detector_of_one_channel_in_half_precision_can_be_exported(tmp_path):
    head = DisMaxLossFirstPart(8, 5).eval()
    head.set_thresholds(torch.linspace(-2, 2, 100))
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    detector, pixels = (
        Detector(network, [0.5], [0.3]),
        torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8),
    )
    expected = detector(pixels).probabilities
    export.to_onnx(detector.half(), tmp_path / "detector.onnx", size=(8, 8))
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    np.testing.assert_allclose(
        session.run(["probabilities"], {"images": pixels.numpy()})[0], expected, atol=0.01
    )
    for refused in (
        pixels / 255,
        pixels.to(torch.int8),
        pixels[:, :, :7],
        pixels.expand(-1, 3, -1, -1),
    ):
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            session.run(None, {"images": refused.numpy()})


@pytest.mark.parametrize(
    "size", [4, "44", (0, 4), (4,), (4.0, 4.0), (4, -4), (1, 1), (10**6, 10**6)]
)
def test_what_cannot_be_exported_is_said_in_one_line(tmp_path, size):
    detector = small_detector(nn.Conv2d(3, 8, 4), nn.Flatten(), num_features=8)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        export.to_onnx(detector, tmp_path / "detector.onnx", size=size)
    assert "\n" not in str(caught.value)
    after = Detector(
        nn.Sequential(detector.body[:2], detector.head, nn.LogSoftmax(1)),
        (0.5, 0.4, 0.3),
        (0.3, 0.2, 0.1),
    )
    with pytest.raises(ValueError, match="a network that returns the output of its head"):
        export.to_onnx(after, tmp_path / "detector.onnx", size=(4, 4))
    assert not list(tmp_path.iterdir())


def small_detector(*layers: nn.Module, num_features: int) -> Detector:
    head = DisMaxLossFirstPart(num_features, 5).eval()
    head.set_thresholds(torch.linspace(-2, 2, 100))
    return Detector(nn.Sequential(*layers, head), (0.5, 0.4, 0.3), (0.3, 0.2, 0.1))


def test_an_onnx_file_says_what_a_program_needs_to_know(tmp_path):
    detector = small_detector(nn.Flatten(), num_features=48)
    detector.class_names = ("a", "\udcff", "ü", "", "e")
    detector.margin = 2
    export.to_onnx(detector, tmp_path / "detector.onnx", size=(2, 8))
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    said = session.get_modelmeta().custom_metadata_map
    assert (said.pop("format"), said.pop("score")) == ("dismax-detector-1", "own")
    assert {name: json.loads(value) for name, value in said.items()} == {
        "class_names": ["a", "\udcff", "ü", "", "e"],
        "size": [2, 8],
        "margin": 2,
        "grey": None,
        "mean": detector.mean.flatten().tolist(),
        "std": detector.std.flatten().tolist(),
        "temperature": 1.0,
        "threshold": detector.threshold(0.95),
        "tpr": 0.95,
    }


def test_class_names_in_another_encoding_are_kept(tmp_path):
    detector = small_detector(nn.Flatten(), num_features=48)
    detector.class_names = ("a", "\udcff", "ü", "", "e")
    export.to_safetensors(detector, tmp_path / "detector.safetensors")
    loaded = Detector.load(
        tmp_path / "detector.safetensors",
        network=nn.Sequential(nn.Flatten(), DisMaxLossFirstPart(48, 5)),
    )
    assert loaded.class_names == detector.class_names


@pytest.mark.parametrize("write", [export.to_onnx, export.to_safetensors])
def test_an_export_that_fails_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path, write):
    detector, path = (
        small_detector(nn.Flatten(), nn.Linear(48, 4000), num_features=4000),
        tmp_path / "folder" / "detector",
    )
    detector.size = 4, 4
    write(detector, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a disk that is full halfway.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(Exception, match="File too large"):
            write(detector, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    found = {"onnx": importlib.util.find_spec("onnx"), "onnxscript": None}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    with pytest.raises(ImportError, match="onnxscript: pip install onnxscript"):
        export.to_onnx(small_detector(nn.Flatten(), num_features=48), tmp_path / "x", size=(4, 4))


@pytest.mark.slow
def test_weights_too_large_for_one_file_lie_beside_it(tmp_path):
    width = 20_500
    detector = small_detector(
        nn.Flatten(), nn.Linear(12, width), nn.Linear(width, width), num_features=width
    )  # 1.7 GB
    for _ in range(2):  # the second takes the first's place
        export.to_onnx(detector, tmp_path / "detector.onnx", size=(2, 2))
    assert {path.name for path in tmp_path.iterdir()} == {"detector.onnx", "detector.onnx.data"}
    agree(detector, tmp_path / "detector.onnx", torch.randint(256, (3, 3, 2, 2), dtype=torch.uint8))


@pytest.mark.parametrize("write", [export.to_onnx, export.to_safetensors])
def test_only_a_detector_is_exported(write, tmp_path):
    network = Ending(plainly)
    with pytest.raises(TypeError, match="a dismax.Detector can be exported, got a Calibrated"):
        write(CalibratedNetwork(network), tmp_path / "x")
    assert not [*tmp_path.iterdir()]


def test_a_quantized_network_has_no_safetensors(tmp_path):
    network = torch.ao.quantization.quantize_dynamic(Ending(plainly), {nn.Linear})
    detector = dismax.Detector(network, (0.5,) * 3, (0.25,) * 3)
    with pytest.raises(ValueError, match="is the network quantized"):
        export.to_safetensors(detector, tmp_path / "x")
