"""predict.py: images in, a table and a file out."""

import csv
import json

import pytest
import torch
from PIL import Image

import predict
from dismax.detector import Detector
from experiment import load_data
from utils import records
from utils.config import RunConfig

from .conftest import QUICK, record_of


@pytest.fixture
def run(run_main, tmp_path):
    """A run's folder, and one with a few of its test images, which the run says what of."""
    run_main(*QUICK)
    pixels = load_data(RunConfig.from_json(record_of(tmp_path)["config"])).evaluation["test"].pixels[:7]
    (tmp_path / "images" / "some").mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "images" / "some" / f"{number}.png")
    folder = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"
    return folder, tmp_path / "images", Detector.load(folder / records.MODEL)(pixels)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_it_prints_and_writes_what_the_detector_says(run, tmp_path, capsys, kind):
    folder, images, expected = run
    out = tmp_path / f"found.{kind}"
    assert predict.main([str(folder), str(images), "--device", "cpu", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    rows = json.loads(out.read_text()) if kind == "json" else list(csv.DictReader(out.read_text().splitlines()))
    assert [row["file"] for row in rows] == [str(images / "some" / f"{number}.png") for number in range(7)]
    assert all(row["file"] in printed for row in rows)
    names = Detector.load(folder / records.MODEL).class_names
    assert [row["class"] for row in rows] == [names[number] for number in expected.classes]
    torch.testing.assert_close(torch.tensor([float(row["score"]) for row in rows]), expected.scores)
    torch.testing.assert_close(torch.tensor([float(row["probability"]) for row in rows]), expected.probabilities.amax(1))
    assert [str(row["in_distribution"]) for row in rows] == [str(bool(value)) for value in expected.accepted]
    assert printed.count("OUT") == int((~expected.accepted).sum())


def test_a_lower_rate_refuses_more_and_single_files_of_another_size_are_taken(run, tmp_path, capsys):
    folder, images, _ = run
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.webp")
    assert predict.main([str(folder), str(images), str(tmp_path / "red.webp"), "--tpr", "0"]) == 0
    printed = capsys.readouterr().out
    assert "at 0% TPR" in printed
    assert "red.webp" in printed
    assert printed.count("OUT") > 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["RUN"], "no images given"),
        (["RUN", "nowhere.png"], "nowhere.png is no image file and no folder with some"),
        (["RUN", "IMAGES", "--tpr", "2"], "--tpr is a share in [0, 1], got 2.0"),
        (["RUN", "IMAGES", "--out", "found.txt"], "--out takes a .csv or a .json file, got found.txt"),
        (["IMAGES", "IMAGES"], "keeps no network"),
        (["RUN", "DAMAGED"], "damaged.png cannot be read as an image"),
    ],
)
def test_bad_input_is_said_in_one_line(run, tmp_path, capsys, given, message):
    folder, images, _ = run
    (tmp_path / "damaged.png").write_bytes(b"nothing")
    places = {"RUN": str(folder), "IMAGES": str(images), "DAMAGED": str(tmp_path / "damaged.png")}
    assert predict.main([places.get(word, word) for word in given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@x.png", "＝1.png"])
def test_no_name_is_a_formula_in_a_csv_file(tmp_path, name):
    row = {"file": name, "class": name, "probability": 0.5, "score": -0.7, "in_distribution": True}
    predict.write(tmp_path / "out.csv", [row, row | {"file": "/a/=1.png", "class": "cat"}])
    first, second = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (first["file"], first["class"], first["score"]) == (f"./{name}", f"'{name}", "-0.7")
    assert (second["file"], second["class"]) == ("/a/=1.png", "cat")
