"""predict.py: images in, a table and a file out."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import main
import predict
from dismax.detector import Detector
from experiment import records
from experiment.config import RunConfig
from experiment.data import load_data
from tests.common import QUICK, ROOT, record_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder, and one with a few of its test images, which the run says what of."""
    place = tmp_path_factory.mktemp("predict")
    assert main.main(["--runs", str(place / "runs"), "--device", "cpu", *QUICK]) == 0
    pixels = (
        load_data(RunConfig.from_json(record_of(place)["config"])).evaluation["test"].pixels[:7]
    )
    (place / "images" / "some").mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(
            place / "images" / "some" / f"{number}.png"
        )
    folder = place / "runs" / "digits" / "smallcnn" / "dismax" / "1"
    return folder, place / "images", Detector.load(folder / records.MODEL)(pixels)


@pytest.mark.parametrize("kind", ["csv", "JSON"])
def test_it_prints_and_writes_what_the_detector_says(run, tmp_path, capsys, kind):
    folder, images, expected = run
    out = tmp_path / f"found.{kind}"
    assert predict.main([str(folder), str(images), "--device", "cpu", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    rows = (
        json.loads(out.read_text())
        if kind == "JSON"
        else list(csv.DictReader(out.read_text().splitlines()))
    )
    assert [row["file"] for row in rows] == [
        str(images / "some" / f"{number}.png") for number in range(7)
    ]
    assert all(row["file"] in printed for row in rows)
    names = Detector.load(folder / records.MODEL).class_names
    assert [row["class"] for row in rows] == [names[number] for number in expected.classes]
    torch.testing.assert_close(torch.tensor([float(row["score"]) for row in rows]), expected.scores)
    torch.testing.assert_close(
        torch.tensor([float(row["probability"]) for row in rows]), expected.probabilities.amax(1)
    )
    assert [str(row["in_distribution"]) for row in rows] == [
        str(bool(value)) for value in expected.accepted
    ]
    assert printed.count("OUT") == int((~expected.accepted).sum())
    threshold = float(printed.split("at least ")[1].split(",")[0])
    assert threshold == pytest.approx(
        Detector.load(folder / records.MODEL).threshold(0.95), rel=1e-3
    )


def test_a_lower_rate_refuses_more_and_single_files_of_another_size_are_taken(
    run, tmp_path, capsys
):
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
        (["RUN", "IMAGES", "--out", "IMAGES"], "--out takes a .csv or a .json file, got "),
        (
            ["RUN", "IMAGES", "--out", "RUN/metrics.json"],
            "metrics.json would overwrite a file of a run: name another",
        ),
        (["RUN", "PIPE"], "pipe.png is no file but a pipe"),
        (
            ["RUN", "IMAGES", "--out", "found.txt"],
            "--out takes a .csv or a .json file, got found.txt",
        ),
        (["IMAGES", "IMAGES"], "model.pt is no file: a finished run keeps its network there"),
        (["RUN", "DAMAGED"], "damaged.png cannot be read as an image"),
    ],
)
def test_bad_input_is_said_in_one_line(run, tmp_path, capsys, given, message):
    folder, images, _ = run
    (tmp_path / "damaged.png").write_bytes(b"nothing")
    os.mkfifo(tmp_path / "pipe.png")
    names = {
        "RUN": folder,
        "IMAGES": images,
        "DAMAGED": tmp_path / "damaged.png",
        "PIPE": tmp_path / "pipe.png",
    }
    places = {name: str(place) for name, place in names.items()} | {
        "RUN/metrics.json": str(folder / records.METRICS)
    }
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


ODD = [
    b"=1+1.png",
    b"-x.png",
    b"@a.png",
    "ü €.png".encode(),
    b"latin-1 \xfc.png",
    b"line\nbreak.png",
    b"clear \x1b[2J.png",
]


@pytest.fixture
def odd(run, tmp_path, monkeypatch):
    """The run's folder, with the working directory one of images with odd names."""
    folder, images, _ = run
    (tmp_path / "odd").mkdir()
    monkeypatch.chdir(tmp_path / "odd")
    for name in ODD:
        shutil.copyfile(images / "some" / "0.png", os.fsdecode(name))
    return folder


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_odd_names_are_printed_on_any_output_and_found_again(odd, tmp_path, monkeypatch, encoding):
    before = sorted(os.listdir(b"."))
    with open(tmp_path / "printed", "w", encoding=encoding) as output:
        monkeypatch.setattr(sys, "stdout", output)
        found = [tmp_path / "found.CSV", tmp_path / "found.json"]
        for out in found:
            assert predict.main([str(odd), ".", "--device", "cpu", "--out", str(out)]) == 0
        monkeypatch.undo()
    printed = (tmp_path / "printed").read_bytes()
    assert len(printed.splitlines()) == 2 * (2 + len(ODD) + 2)  # heads, rows, the threshold
    assert b"\x1b" not in printed
    with open(found[0], newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert not any(row["file"].startswith(("=", "+", "-", "@")) for row in rows)
    monkeypatch.chdir(tmp_path / "odd")
    for files in (
        [row["file"] for row in rows],
        [row["file"] for row in json.loads(found[1].read_text())],
    ):
        assert sorted(os.fsencode(Path(name)) for name in files) == before
        assert all(Path(name).is_file() for name in files)


@pytest.mark.parametrize("output", ["full", "closed"])
def test_a_table_that_cannot_be_printed_is_an_error_and_the_file_is_written(
    run, tmp_path, capsys, monkeypatch, output
):
    folder, images, _ = run
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full if output == "full" else None)
        assert (
            predict.main(
                [str(folder), str(images), "--device", "cpu", "--out", str(tmp_path / "found.csv")]
            )
            == 2
        )
        monkeypatch.undo()
    assert "standard output" in capsys.readouterr().err
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 8


def test_ctrl_c_ends_it_with_one_line(run, tmp_path):
    folder, images, _ = run
    command = [
        sys.executable,
        "predict.py",
        str(folder),
        *[str(images)] * 3000,
        "--out",
        str(tmp_path / "found.csv"),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert said.strip().startswith("interrupted: nothing was ")
    assert len(said.strip().splitlines()) == 1
    assert not printed
    assert not list(tmp_path.glob("*.csv"))
