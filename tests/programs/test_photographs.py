"""An engineer's week: own photographs of any size and a network of timm, up to a service."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import beta
from sklearn.datasets import load_sample_images

import detect
import main
import predict
from dismax.detector import Detector
from dismax.export import to_onnx
from tests.finished_runs import read

FLOWER, CHINA = 1, 0  # the photographs' numbers in scikit-learn
# Class → the photograph, and the region of it that the images are cut from.
REGIONS = {
    "flower": (FLOWER, (60, 380), (180, 500)),
    "leaves": (FLOWER, (0, 427), (0, 170)),
    "sky": (CHINA, (0, 150), (0, 640)),
    "temple": (CHINA, (170, 427), (0, 640)),
}


def cut(generator, pixels, rows, columns):
    """Return a random part of a region, 60 to 140 pixels high and wide, as an image."""
    height, width = generator.integers(60, 141, 2)
    top = generator.integers(rows[0], rows[1] - height + 1)
    left = generator.integers(columns[0], columns[1] - width + 1)
    return Image.fromarray(pixels[top : top + height, left : left + width])


def write_photographs(folder, counts):
    """Write JPEGs of mixed sizes into a folder for each split and class."""
    generator = np.random.default_rng(0)
    photographs = load_sample_images().images
    for split, count in counts.items():
        for name, (number, rows, columns) in REGIONS.items():
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = cut(generator, photographs[number], rows, columns)
                image.save(folder / split / name / f"{i}.jpg")


def write_others(folder, count):
    """Write JPEGs of something else: stripes of random colours."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    for i in range(count):
        colours = generator.integers(0, 256, (int(generator.integers(8, 30)), 3), dtype=np.uint8)
        stripes = np.repeat(colours[:, None], generator.integers(60, 140), axis=1)
        stripes = np.repeat(stripes, 4, axis=0)
        Image.fromarray(stripes).save(folder / f"{i}.jpg")


@pytest.mark.slow
def test_photographs_of_any_size_become_a_service_that_keeps_its_promise(tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    timm = pytest.importorskip("timm")
    photos, others, runs = tmp_path / "photos", tmp_path / "others", tmp_path / "runs"
    write_photographs(photos, {"train": 100, "test": 75})
    write_others(others, 60)
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "weights.pth")

    # One command trains, calibrates, sets thresholds and deploys the combined score.
    arguments = ["--data", photos, "--size", "64", "--model", "timm/resnet10t"]
    arguments += ["--weights", tmp_path / "weights.pth"]
    arguments += ["--loss", "dismax_nofpr", "--epochs", "8", "--precision", "fp32"]
    arguments += ["--runs", runs, "--ood", others, "--device", "cpu"]
    assert main.main([str(argument) for argument in arguments]) == 0
    folder = runs / "photos" / "timm_resnet10t" / "dismax_nofpr" / "1"
    assert read(folder)["classification"]["test"]["calibrated"]["accuracy"] > 0.85
    assert detect.main([str(folder), "--deploy", "knn", "--device", "cpu"]) == 0

    out = tmp_path / "found.json"
    for score in ("combined", "knn"):
        options = ["--score", score, "--out", str(out), "--device", "cpu"]
        assert predict.main([str(folder), str(photos / "test"), *options]) == 0
        rows = json.loads(out.read_text())
        accepted = np.mean([row["in_distribution"] for row in rows])
        # 100 images set the threshold: on fresh ones the rate has this distribution.
        rejected = 99 * 5 // 100
        low, high = beta(100 - rejected, rejected + 1).ppf([0.0005, 0.9995])
        deviation = (0.95 * 0.05 / len(rows)) ** 0.5
        assert low - 3 * deviation < accepted < high + 3 * deviation
    assert predict.main([str(folder), str(others), "--out", str(out), "--device", "cpu"]) == 0
    assert np.mean([row["in_distribution"] for row in json.loads(out.read_text())]) < 0.1

    detector = Detector.load(folder / "model.pt")
    assert detector.size == (64, 64)
    to_onnx(detector, tmp_path / "service.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "service.onnx")
    pixels = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8)
    expected = detector(pixels)
    _, probabilities, score, accepted = session.run(None, {"images": pixels.numpy()})
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-4)
    np.testing.assert_allclose(score, expected.scores, atol=0.1)
    assert accepted.tolist() == expected.accepted.tolist()


def make_classes(folder, counts):
    """Write small images: split → class → number of images."""
    for split, classes in counts.items():
        for name, count in classes.items():
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                colour = tuple(int(value) for value in np.random.default_rng(i).integers(0, 256, 3))
                Image.new("RGB", (20 + i, 30), colour).save(folder / split / name / f"{i}.png")


TEST = {"a": 3, "b": 3}


@pytest.mark.parametrize(("counts", "message"), [
    ({"train": {"a": 30}, "test": {"a": 3}}, "one class only ('a')"),
    ({"train": {"a": 30, "b": 1}, "test": TEST}, "cannot hold out"),
    ({"train": {"a": 30, "b": 0}, "test": TEST}, "has class folders without images (b)"),
    ({"train": {"a": 30, "b": 30}}, "holds no folder test"),
    ({"test": TEST}, "holds no folder train"),
])  # fmt: skip
def test_a_folder_that_cannot_be_trained_on_is_refused_in_one_line(
    run_main, tmp_path, counts, message
):
    make_classes(tmp_path / "photos", counts)
    options = ("--size", "16", "--model", "smallcnn", "--epochs", "1")
    status, _, err = run_main("--data", str(tmp_path / "photos"), *options)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()
