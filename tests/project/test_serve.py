"""The service on the page about serving gives the answers of predict.py."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

import predict
from dismax import export
from dismax.detector import Detector
from losses import SoftMaxLossFirstPart
from tests.common import ROOT
from tests.pages import code_blocks

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def photographs(folder):
    """Write photographs of several shapes and kinds, and return their paths."""
    colour = load_sample_image("china.jpg")  # 427×640
    flower = Image.fromarray(load_sample_image("flower.jpg"))
    turned = Image.Exif()
    turned[0x0112] = 6
    transparent = np.dstack([colour, np.linspace(0, 255, 427 * 640).reshape(427, 640)])
    for name, image, options in (
        ("colour.png", Image.fromarray(colour), {}),
        ("grey.png", flower.convert("L"), {}),
        ("turned.jpg", flower, {"exif": turned}),
        ("narrow.jpg", flower.crop((300, 0, 361, 400)), {}),
        ("small.png", flower.resize((7, 5)), {}),
        ("transparent.png", Image.fromarray(transparent.astype(np.uint8)), {}),
        ("palette.gif", flower.convert("P"), {}),
    ):
        image.save(folder / name, **options)
    return sorted(folder.iterdir())


def exported(path, channels, grey):
    """Write a detector of images of 20×14 pixels, which sees every pixel."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), SoftMaxLossFirstPart(channels * 20 * 14, 5)).eval()
    network[-1].set_thresholds(torch.linspace(0.2, 0.9, 50))
    detector = Detector(network, [0.5] * channels, [0.25] * channels, list("abcde"))
    detector.margin, detector.grey = 3, grey
    export.to_onnx(detector, path, size=(20, 14))


@pytest.mark.parametrize(("channels", "grey"), [(3, False), (3, True), (1, None)])
def test_the_service_answers_as_predict(workplace, tmp_path, capsys, channels, grey):
    (tmp_path / "photographs").mkdir()
    files = photographs(tmp_path / "photographs")
    exported(workplace / "detector.onnx", channels, grey)
    namespace = {}
    exec(code_blocks(ROOT / "docs" / "serve.md", "python")[1], namespace)
    out = tmp_path / "found.json"
    arguments = ["detector.onnx", *files, "--out", out]
    assert predict.main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
    rows = json.loads(out.read_text())
    assert len(rows) == len(files) == 7
    for file, row in zip(files, rows, strict=True):
        found = json.loads(namespace["answer"](file))
        assert found["class"] == row["class"], file
        # Pillow and torchvision may round a pixel in two ways.
        assert found["score"] == pytest.approx(row["score"], abs=0.01), file
        assert found["probability"] == pytest.approx(row["probability"], abs=0.01), file
        assert found["accepted"] == row["in_distribution"], file
