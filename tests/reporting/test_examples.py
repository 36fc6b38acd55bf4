"""reporting/examples.py: the images that a detector gets most wrong."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from data import builtin, files
from data.streaming import ImageFiles
from experiment.config import RunConfig
from experiment.data import load_data
from reporting import examples
from tests.reporting.tables import altered


def test_examples_are_the_images_with_the_extreme_scores(outcomes):
    run = next(run for run in outcomes if run.record["config"]["loss"] == "dismax")
    strips = examples.most_wrong(run, load_data(RunConfig.from_json(run.record["config"])))
    shown = {strip.title: strip.images for strip in strips}

    def pixels(strip):
        return np.asarray(
            Image.open(io.BytesIO(base64.b64decode(shown[strip][0][0].split(",")[1])))
        )

    outside = builtin.digits89()[run.scores["digits89"].argmax()]
    assert np.array_equal(pixels("Digits 8-9: highest scores"), outside.permute(1, 2, 0))
    _, test = builtin.digits()
    least = int(run.scores["test"].argmin())
    assert np.array_equal(pixels("Test images: lowest scores"), test.pixels[least].permute(1, 2, 0))
    assert shown["Test images: lowest scores"][0][1].endswith(
        f"is {test.classes[test.labels[least]]}"
    )


def test_other_images_are_not_shown(outcomes):
    run = next(run for run in outcomes if run.record["config"]["loss"] == "dismax")
    data = load_data(RunConfig.from_json(run.record["config"]))
    role, noise = data.ood["noise"]
    data.ood["noise"] = role, noise.take(torch.arange(len(noise)).flip(0))
    with pytest.raises(ValueError, match="noise has other images now"):
        examples.most_wrong(run, data)


def test_examples_come_from_streamed_sets_too(outcomes, tmp_path, monkeypatch):
    run = next(run for run in outcomes if run.record["config"]["loss"] == "dismax")
    data = load_data(RunConfig.from_json(run.record["config"]))
    (tmp_path / "noise").mkdir()
    for number, pixels in enumerate(data.ood["noise"][1].pixels):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(
            tmp_path / "noise" / f"{number:04}.png"
        )
    in_memory = examples.most_wrong(run, data)
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    # The fingerprint of a set in files is another one.
    prints = {name: value for name, value in run.record["fingerprints"].items() if name != "noise"}
    run = replace(run, record=altered(run.record, "fingerprints", value=prints))
    data.ood["noise"] = "very_far", files.load_ood(tmp_path / "noise", data.train.pixels)
    assert isinstance(data.ood["noise"][1], ImageFiles)
    assert examples.most_wrong(run, data) == in_memory
