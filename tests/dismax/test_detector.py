"""A run's network as a detector, in a checkout and installed."""

import math
import re

import pytest
import torch
import torchvision

import losses
from dismax.detector import Detector
from experiment import predictions, records
from experiment.config import RunConfig
from experiment.data import load_data
from tests.common import QUICK, record_of
from tests.dismax.networks import Ending, plainly, small


@pytest.mark.parametrize(
    "loss", ["softmax", "dismax", "scaledcosine", "godin_dropout", "duq", "sngp"]
)
def test_a_detector_returns_what_the_run_recorded(run_main, tmp_path, loss):
    assert run_main("--loss", loss, *QUICK)[0] == 0
    record = record_of(tmp_path, loss)
    folder = tmp_path / "runs" / "digits" / "smallcnn" / loss / "1"
    kept, data = (
        predictions.read_predictions(folder),
        load_data(RunConfig.from_json(record["config"])),
    )
    detector = Detector.load(folder / records.MODEL)
    assert detector.class_names == data.train.classes
    for name, part in data.evaluation.items():
        found = detector(part.pixels)
        logits = torch.tensor(kept[name]["logits"]) / record["temperature"]["value"]
        torch.testing.assert_close(found.probabilities, logits.softmax(1), rtol=1e-4, atol=1e-5)
        assert found.classes.equal(found.probabilities.argmax(1))
        assert found.accepted.equal(found.scores >= detector.threshold(0.95))
    rate = detector(data.evaluation["validation"].pixels).accepted.float().mean()
    # Rounding may move the few images whose scores lie on the threshold.
    assert rate >= 0.94
    # Floats, and a single image.
    assert torch.equal(detector(part.pixels[:1] / 255).classes, found.classes[:1])
    with pytest.raises(ValueError, match=r"tpr is a rate in \[0, 1\], got 2"):
        Detector.load(folder / records.MODEL, tpr=2)
    assert (
        Detector.load(folder / records.MODEL, tpr=0.5)(part.pixels).accepted.sum()
        < found.accepted.sum()
    )


def test_training_mode_keeps_the_calibration(run_main, tmp_path):
    run_main(*QUICK)
    detector = Detector.load(
        tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.MODEL
    )
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
        outputs = model(
            (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        )
        head.set_thresholds(head.scores(outputs))
    detector = Detector(model, mean, std, tpr=0.9)
    found = detector(pixels)
    torch.testing.assert_close(found.probabilities, outputs.softmax(1))
    torch.testing.assert_close(found.scores, head.scores(outputs))
    assert 18 <= found.accepted.sum() <= 20
    assert model.fc is head  # the network itself is as it was
    with pytest.raises(ValueError, match="ResNet has 0: dismax.replace_classifier gives it one"):
        Detector(torchvision.models.resnet18(), mean, std)
    with pytest.raises(ValueError, match="score is what dismax.fit_score returns, got 'combined'"):
        Detector(model, mean, std, score="combined")
    detector.size = 32, 32
    assert detector(pixels).scores.equal(found.scores)
    with pytest.raises(ValueError, match="images of 32×32 pixels .height, width., got 64×32"):
        detector(torch.rand(1, 3, 64, 32))


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean": [123.7, 116.3, 103.5]},  # of pixels up to 255
        {"mean": [0.5, 0.5]},
        {"mean": [math.nan, 0.5, 0.5]},
        {"std": [0, 0.25, 0.25]},
        {"std": [0.25, 0.25, -0.25]},
        {"std": [0.25, math.inf, 0.25]},
        {"mean": [], "std": []},
    ],
)
def test_an_impossible_normalisation_is_refused(arguments):
    with pytest.raises(ValueError, match="mean and std are a number for each channel, of pixels"):
        Detector(Ending(plainly), **{"mean": [0.5] * 3, "std": [0.25] * 3} | arguments)


@pytest.mark.parametrize("names", ["abcde", [b"a", b"b", b"c", b"d", b"e"], list("abcd"), range(5)])
def test_class_names_are_text_and_one_for_each_class(names):
    with pytest.raises(ValueError, match="class_names"):
        Detector(Ending(plainly), [0.5] * 3, [0.25] * 3, names)


PIXELS = torch.linspace(0, 1, 96).view(2, 3, 4, 4)
IMAGES = {
    "floats up to 255": (255 * PIXELS, "floats in [0, 1], got 0 to 255"),
    "floats around 0": (2 * PIXELS - 1, "floats in [0, 1], got -1 to 1"),
    "huge": (1e30 * PIXELS, "floats in [0, 1], got 0 to 1e+30"),
    "NaN": (PIXELS.masked_fill(PIXELS == 1, math.nan), "floats in [0, 1], got nan to nan"),
    "infinite": (PIXELS / (1 - PIXELS), "floats in [0, 1], got 0 to inf"),
    "halves up to 255": ((255 * PIXELS).half(), "floats in [0, 1], got 0 to 255"),
    **{
        str(dtype): (PIXELS.to(dtype), f"or of floats in [0, 1], got {dtype}")
        for dtype in (
            torch.bool,
            torch.int8,
            torch.int16,
            torch.uint16,
            torch.int32,
            torch.int64,
            torch.complex64,
            torch.float8_e5m2,
        )
    },
    "an array": (PIXELS.numpy(), "takes a tensor of images, got ndarray"),
    "one image": (PIXELS[0], "takes images [B, 3, H, W], got [3, 4, 4]"),
    "grey": (PIXELS[:, :1], "takes images [B, 3, H, W], got [2, 1, 4, 4]"),
    "with alpha": (torch.rand(2, 4, 4, 4), "takes images [B, 3, H, W], got [2, 4, 4, 4]"),
    "channels last": (torch.rand(2, 4, 5, 3), "takes images [B, 3, H, W], got [2, 4, 5, 3]"),
    "no pixels": (torch.rand(2, 3, 0, 4), "takes images [B, 3, H, W], got [2, 3, 0, 4]"),
}


@pytest.mark.parametrize("given", IMAGES)
def test_bad_images_are_refused(given):
    images, message = IMAGES[given]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        small()(images)
    assert "\n" not in str(caught.value)


def test_images_of_any_memory_format_and_an_empty_batch_are_accepted():
    detector, images = small(), torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)
    expected = detector(images)
    for same in (
        images.to(memory_format=torch.channels_last),
        images.flip(3).flip(3),
        images / 255,
        images.double() / 255,
    ):
        for found, wanted in zip(detector(same), expected, strict=True):
            torch.testing.assert_close(found, wanted, check_dtype=False)
    assert detector(images / 255 + 1e-3).logits.isfinite().all()  # rounding may add so much
    assert [len(part) for part in detector(images[:0])] == [0] * 5
    assert [len(part) for part in detector(images[:0] / 255)] == [0] * 5


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated, but in use
@pytest.mark.parametrize("how", ["exported", "compiled", "traced"])
def test_a_graph_returns_nan_for_pixels_out_of_range(how):
    detector, images = small(), torch.rand(4, 3, 4, 4)
    if how == "traced":
        graph = torch.jit.trace(detector, images)
    elif how == "compiled":
        graph = torch.compile(detector, backend="eager", fullgraph=True)
    else:
        batch = {"images": {0: torch.export.Dim("batch")}}
        graph = torch.export.export(
            detector, (images,), dynamic_shapes=batch, strict=False
        ).module()
    expected = detector(images)
    for found, wanted in zip(graph(images), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    for wrong in (255.0, -0.5, math.nan, math.inf):
        images[2, 1, 0, 3] = wrong
        found = graph(images)
        assert not found[3][2]
        assert found[1][2].isnan().all()
        assert found[2][2].isnan()
        others = [0, 1, 3]
        torch.testing.assert_close(found[1][others], expected.probabilities[others])
        assert found[3][others].equal(expected.accepted[others])


@pytest.mark.parametrize(
    "first_part", [losses.DisMaxLossFirstPart, losses.DUQLossFirstPart, losses.SNGPLossFirstPart]
)
@pytest.mark.parametrize(
    "changed",
    [
        lambda detector: detector.half(),
        lambda detector: detector.bfloat16(),
        lambda detector: detector.double(),
        lambda detector: detector.to("cpu", torch.float16).float(),
        lambda detector: detector.half().to(memory_format=torch.channels_last),
    ],
)
def test_a_detector_in_another_precision_returns_nearly_the_same(first_part, changed):
    images = torch.randint(256, (40, 3, 4, 4), dtype=torch.uint8)
    exact = small(first_part=first_part)
    detector = changed(small(first_part=first_part))
    wanted = exact(images)
    for given in (images, images / 255, (images / 255).half(), images / 255.0):
        found = detector(given)
        torch.testing.assert_close(
            found.probabilities.float(), wanted.probabilities, atol=0.05, rtol=0
        )
        assert found.scores.dtype in (torch.float32, torch.float64)
        near = (wanted.scores - exact.least).abs() < 0.02 * wanted.scores.abs()
        assert found.accepted[~near].equal(wanted.accepted[~near])
    # Thresholds are not rounded: DUQ's scores can be larger than half precision holds.
    assert detector.least == exact.least
    assert detector.head.thresholds.equal(exact.head.thresholds)


@pytest.mark.parametrize("size", [64, "32", (32,), (32, 0), (32.0, 32.0)])
def test_a_size_that_is_none_is_refused_when_it_is_set(size):
    detector = small()
    with pytest.raises(ValueError, match=r"size is \(height, width\), each 1 or more, got"):
        detector.size = size
    assert detector.size is None
