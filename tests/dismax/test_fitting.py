"""What a trained network gets from loaders: a temperature, thresholds, and a score."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from dismax.calibration import fit_temperature
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dismax
import losses
from detectors import DETECTORS, FitData, SetOutputs
from dismax.outputs import outputs_of
from tests.dismax.networks import Ending, plainly
from utils import metrics

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def network_and_images(count=300, first_part=losses.SoftMaxLossFirstPart):
    """A network, images, and labels that it predicts for most of them."""
    torch.manual_seed(0)
    network = Ending(plainly, first_part)
    network.fc.forget_calibration()
    images = torch.randn(count, 3, 4, 4)
    labels = network(images).argmax(1)
    labels[::4] = torch.randint(5, (len(labels[::4]),))
    return network, images, labels


def loader_of(images, labels, batch=32):
    return DataLoader(TensorDataset(images, labels), batch)


@pytest.mark.parametrize(
    "first_part",
    [losses.SoftMaxLossFirstPart, losses.DisMaxLossFirstPart, losses.GODINLossFirstPart],
)
def test_calibrate_fits_the_temperature_and_the_thresholds_of_a_whole_loader(first_part):
    network, images, labels = network_and_images(first_part=first_part)
    report = dismax.calibrate(network, loader_of(images, labels))
    outputs, _ = outputs_of(network, [(images, labels)])
    logits = outputs.outputs["logits"]
    temperature = fit_temperature(logits, labels)
    assert report.temperature == pytest.approx(temperature, rel=1e-4)
    assert network.fc.temperature.item() == report.temperature
    assert report.ece_before == pytest.approx(metrics.expected_calibration_error(logits, labels))
    after = metrics.classification_metrics(logits / report.temperature, labels)
    assert (report.accuracy, report.images) == (pytest.approx(after["accuracy"]), 300)
    assert (report.ece_after, report.nll_after) == pytest.approx(
        (after["ece"], after["nll"]), abs=1e-4
    )
    scores = network.fc.scores(outputs.outputs)
    assert (scores >= network.fc.threshold(0.9)).float().mean() == pytest.approx(0.9, abs=0.01)


def test_a_second_calibration_starts_from_the_first():
    network, images, labels = network_and_images()
    first = dismax.calibrate(network, loader_of(images, labels))
    second = dismax.calibrate(network, loader_of(images, labels))
    assert second.temperature == pytest.approx(first.temperature, rel=1e-4)
    assert second.ece_before == pytest.approx(first.ece_after, abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays_and_eval_keeps_the_calibration(training):
    network, images, labels = network_and_images()
    network.body.append(nn.BatchNorm1d(8))
    network.train(training)
    before = copy.deepcopy(network.body.state_dict())
    report = dismax.calibrate(network, loader_of(images, labels))
    assert {module.training for module in network.modules()} == {training}
    assert all(value.equal(before[name]) for name, value in network.body.state_dict().items())
    assert network.eval().fc.temperature.item() == report.temperature
    assert network.fc.threshold(0.95) < math.inf


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda n: torch.compile(n, backend="eager")])
def test_a_wrapped_network_is_calibrated_itself(wrap):
    network, images, labels = network_and_images()
    expected = dismax.calibrate(copy.deepcopy(network), loader_of(images, labels))
    assert dismax.calibrate(wrap(network), loader_of(images, labels)) == expected
    assert network.fc.temperature.item() == expected.temperature


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_any_precision_is_calibrated(precision):
    network, images, labels = network_and_images()
    expected = dismax.calibrate(copy.deepcopy(network), loader_of(images, labels))
    found = dismax.calibrate(network.to(precision), loader_of(images, labels))
    assert found.ece_after == pytest.approx(expected.ece_after, abs=0.03)
    assert network.fc.temperature.item() == found.temperature


def test_labels_of_16_bits_and_another_default_device_change_nothing():
    network, images, labels = network_and_images()
    expected = dismax.calibrate(copy.deepcopy(network), loader_of(images, labels))
    loader = list(loader_of(images, labels.to(torch.uint16)))
    with torch.device("meta"):
        found = dismax.calibrate(network, loader)
        score = dismax.fit_score(network, "combined", loader, loader)
    assert found == expected
    assert score.thresholds.isfinite().all()


def test_under_autocast_the_temperature_is_nearly_the_same():
    network, images, labels = network_and_images()
    expected = dismax.calibrate(copy.deepcopy(network), loader_of(images, labels), "nll")
    with torch.autocast("cpu", torch.bfloat16):
        found = dismax.calibrate(network, loader_of(images, labels), "nll")
    assert found.temperature == pytest.approx(expected.temperature, rel=0.05)


FEW = {
    "all right": (200, "all 200 examples are classified right"),
    "few wrong": (200, "few answers are wrong (3 of 200)"),
    "few images": (15, "15 images are too few for thresholds"),
}  # fmt: skip


@pytest.mark.parametrize("case", FEW)
def test_a_report_warns_of_too_little_and_so_does_python(case):
    count, message = FEW[case]
    network, images, _ = network_and_images(count)
    labels = network(images).argmax(1)
    if case == "few wrong":
        labels[:3] = (labels[:3] + 1) % 5
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = dismax.calibrate(network, loader_of(images, labels))
    assert any(message in warning for warning in report.warnings)
    assert tuple(str(warning.message) for warning in caught) == report.warnings
    assert f"warning: {message}" in str(report)
    assert str(report).startswith(f"temperature {report.temperature:.4g}, fitted to {count} images")


IMAGES, LABELS = torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)
BATCHES = {
    "a dict": ({"image": IMAGES, "label": LABELS}, r"\(inputs, labels\), got a dict: make such"),
    "inputs alone": (IMAGES, r"\(inputs, labels\), got a Tensor"),
    "a list of one": ([IMAGES], r"\(inputs, labels\), got a list"),
    "probabilities": ((IMAGES, torch.ones(2, 5)), r"float32 \[2, 3, 4, 4\] and float32 \[2, 5\]"),
    "other labels": ((IMAGES, LABELS[:1]), r"class numbers \[B\], got .* and int64 \[1\]"),
    "names": ((IMAGES, ["a", "b"]), "and a list"),
    "unknown classes": ((IMAGES, LABELS + 5), "integers in 0 to 4, got 5 to 5"),
    "no class": ((IMAGES, LABELS - 1), "integers in 0 to 4, got -1 to -1"),
    "truth values": ((IMAGES, LABELS == 0), r"and bool \[2\]"),
    "NaN": ((IMAGES * math.nan, LABELS), "the logits of 2 of 2 examples are not finite"),
}


@pytest.mark.parametrize("given", BATCHES)
def test_a_bad_batch_is_refused_in_one_line_and_changes_nothing(given):
    batch, message = BATCHES[given]
    network, _, _ = network_and_images()
    with pytest.raises(ValueError, match=message) as caught:
        dismax.calibrate(network, [batch])
    assert "\n" not in str(caught.value)
    assert network.fc.temperature == 1
    assert network.fc.thresholds.isnan().all()


class OfPixels(nn.Module):
    """Takes uint8 and normalises it itself."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        assert images.dtype == torch.uint8
        return self.network(images.float() / 255)


def test_whole_numbers_reach_the_network_as_they_are():
    """A network for floats refuses pixels that are not normalised; another may take them."""
    network, _, labels = network_and_images()
    pixels = torch.randint(256, (len(labels), 3, 4, 4), dtype=torch.uint8)
    expected = dismax.calibrate(copy.deepcopy(network), loader_of(pixels / 255, labels), "nll")
    found = dismax.calibrate(OfPixels(copy.deepcopy(network)), loader_of(pixels, labels), "nll")
    assert found.temperature == expected.temperature
    with pytest.raises(RuntimeError):
        dismax.calibrate(network, loader_of(pixels, labels))


def test_an_empty_loader_and_a_network_without_a_head_are_refused():
    with pytest.raises(ValueError, match="the loader has no images"):
        dismax.calibrate(network_and_images()[0], [])
    with pytest.raises(ValueError, match="one head of dismax.losses is needed, Linear has 0"):
        dismax.calibrate(nn.Linear(3, 4), [(IMAGES, LABELS)])


def test_a_limited_pass_keeps_a_random_sample_of_a_sorted_loader_in_order():
    network, _, _ = network_and_images()
    labels = torch.arange(5).repeat_interleave(400)
    images = torch.randn(2000, 3, 4, 4)
    all_outputs, _ = outputs_of(network, loader_of(images, labels))
    found, _ = outputs_of(network, loader_of(images, labels), most=500)
    assert len(found.labels) == 500
    assert found.labels.equal(found.labels.sort().values)
    assert found.labels.bincount(minlength=5).min() > 70
    rows = torch.cdist(found.outputs["features"], all_outputs.outputs["features"]).argmin(1)
    assert found.labels.equal(labels[rows])
    assert found.outputs["logits"].allclose(all_outputs.outputs["logits"][rows], atol=1e-5)
    again, _ = outputs_of(network, loader_of(images, labels), most=500)
    assert again.outputs["logits"].equal(found.outputs["logits"])


@pytest.mark.parametrize("name", ["mahalanobis", "react", "knn"])
def test_a_score_from_loaders_is_the_one_that_is_fitted_to_the_outputs(name):
    network, images, labels = network_and_images()
    dismax.calibrate(network, loader_of(images, labels))
    train, held_out = loader_of(images[:200], labels[:200]), loader_of(images[200:], labels[200:])
    score = dismax.fit_score(network, name, train, held_out)
    head = copy.deepcopy(network.fc)
    head.temperature.fill_(1)
    sets = [outputs_of(network, loader)[0] for loader in (train, held_out)]
    fitted = DETECTORS[name].fit(FitData(None, head, *sets, std=()))
    expected = fitted(SetOutputs(sets[1].outputs))
    np.testing.assert_allclose(score.of(sets[1].outputs, head), expected, rtol=1e-3, atol=1e-3)


def test_the_own_score_from_loaders_is_that_of_the_calibrated_head():
    network, images, labels = network_and_images()
    loader = loader_of(images, labels)
    dismax.calibrate(network, loader)
    score = dismax.fit_score(network, "own", loader, loader)
    assert score.thresholds.equal(network.fc.thresholds)


def test_a_score_that_cannot_be_fitted_is_refused_before_any_image_is_read():
    network, _, _ = network_and_images()
    for name in ("magic", "odin"):
        with pytest.raises(ValueError, match=name):
            dismax.fit_score(network, name, None, None)


@pytest.mark.parametrize("name", ["own", "energy", "gen"])
def test_a_score_of_logits_does_not_read_the_training_images(name):
    network, images, labels = network_and_images()

    def unread():
        raise AssertionError("the training images were read")
        yield

    dismax.fit_score(network, name, unread(), loader_of(images, labels))
