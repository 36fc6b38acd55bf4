"""OpenOOD's recipe: how images are normalised, what is recorded, and the means of its groups."""

import json

import numpy as np
import pytest
import torch

import analyze
from data.images import Images
from data.torchvision_sets import TorchvisionSet
from experiment import records
from experiment.data import load_data
from experiment.parsing import parse
from experiment.recipes import RECIPES
from tests.common import interrupted, record_of, run_folder


@pytest.mark.parametrize(
    ("data", "recipe", "mean", "std"),
    [
        ("cifar10", "openood", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("cifar100", "openood", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        ("cifar10", "paper", (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)),
        ("cifar100", "paper", (0.507, 0.486, 0.440), (0.267, 0.256, 0.276)),
    ],
)
def test_each_recipe_normalises_images_with_its_own_numbers(monkeypatch, data, recipe, mean, std):
    pixels = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)
    images = Images(pixels, torch.arange(40) % 10, tuple("0123456789"))
    monkeypatch.setattr(TorchvisionSet, "load_split", lambda *_: images)
    options = ["--data", data, "--recipe", recipe, "--ood", "noise", "--protocol", "paper"]
    loaded = load_data(parse(options))
    assert loaded.mean == mean
    assert loaded.std == std


@pytest.fixture
def ood_options(tmp_path):
    """The option --ood with two near and two far sets in the user's own files."""
    rng = np.random.default_rng(0)
    options = ["--ood"]
    for number, role in enumerate(("near", "near", "far", "far")):
        path = tmp_path / f"set{number}.npz"
        images = rng.integers(0, 60 * (number + 1), (40, 8, 8, 3)).astype(np.uint8)
        np.savez(path, images=images, labels=np.zeros(40, int))
        options.append(f"{role}={path}")
    return options


OPTIONS = ("--recipe", "openood", "--model", "smallcnn", "--epochs", "3")


def test_the_recipe_is_recorded_and_the_learning_rate_is_a_cosine(run_main, tmp_path):
    assert run_main(*OPTIONS)[0] == 0
    record = record_of(tmp_path)
    assert record["recipe"] == RECIPES["openood"].as_record(3)
    assert record["recipe"]["weight_decay"] == 5e-4
    lines = (run_folder(tmp_path) / records.EPOCHS).read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    assert rates == pytest.approx([0.1, 0.075, 0.025])  # (1 + cos(π/3))/2 = 3/4


def test_an_interrupted_run_resumes_to_the_same_results(
    run_main, ood_options, tmp_path, monkeypatch
):
    options = (*OPTIONS, *ood_options)
    assert run_main(*options)[0] == 0
    record = record_of(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "earlier")
    interrupted(run_main, monkeypatch, 2, *options)
    assert run_main(*options)[0] == 0
    resumed = record_of(tmp_path)
    assert resumed["classification"] == record["classification"]
    assert resumed["detection"] == record["detection"]


def test_the_table_has_the_means_of_near_and_far_sets(run_main, ood_options, tmp_path, capsys):
    assert run_main(*OPTIONS, *ood_options)[0] == 0
    arguments = ["--runs", str(tmp_path / "runs"), "--format", "markdown"]
    assert analyze.main(arguments) == 0
    out = capsys.readouterr().out
    table = out[out.index("means of near and far sets") :].strip().splitlines()
    lines = (table[2], *table[4:])
    heads, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert [row[:3] for row in rows] == [
        ["DisMax", "MMLES, T = 1", "1"],
        ["DisMax", "MMLES, fitted T", "1"],
    ]
    sets = record_of(tmp_path)["detection"].values()
    for row, at in zip(rows, ("t1", "calibrated"), strict=True):
        for role in ("near", "far"):
            metrics = [each["scores"][at]["MMLES"] for each in sets if each["role"] == role]
            for metric, label in (("auroc", "AUROC"), ("fpr95_out", "FPR@95")):
                mean = 100 * np.mean([values[metric] for values in metrics])
                printed = float(row[heads.index(f"{role}-OOD {label} %")])
                assert printed == pytest.approx(mean, abs=0.06)
