"""OpenOOD's recipe: what it leaves open, what it records, and its groups in the tables."""

import json

import numpy as np
import pytest

import analyze
import main
from utils import records
from utils.recipes import RECIPES

from .test_resume import interrupted


@pytest.mark.parametrize(("data", "near"), [("cifar10", "cifar100"), ("cifar100", "cifar10")])
def test_the_recipe_alone_says_how_and_on_what(data, near):
    config = main.parse(["--data", data, "--recipe", "openood"])
    assert (config.model, config.epochs, config.batch_size) == ("resnet18", 100, 128)
    groups = main.sources.partners(config.data, config.ood, config.recipe)
    assert [source for role, source in groups if role == "near"] == [near, "tinyimagenet"]
    assert [source for role, source in groups if role == "far"] == ["mnist", "svhn", "textures", "places365"]
    own = ["--model", "resnet34", "--epochs", "7", "--batch-size", "32", "--ood", "svhn", near, "lsun_resize"]
    config = main.parse(["--data", data, "--recipe", "openood", *own])
    assert (config.model, config.epochs, config.batch_size) == ("resnet34", 7, 32)
    assert config.ood == ("far=svhn", f"near={near}", "far=lsun_resize")  # in the recipe's roles
    paper = main.parse(["--data", data])
    assert (paper.recipe, paper.batch_size, paper.epochs, paper.model) == ("paper", 64, 300, "densenetbc100")
    with pytest.raises(ValueError, match="--recipe is one of paper, .*got 'mine'"):
        main.parse(["--recipe", "mine"])


@pytest.fixture
def groups(tmp_path):
    """Two near and two far sets in the user's own files."""
    rng = np.random.default_rng(0)
    given = []
    for number, role in enumerate(("near", "near", "far", "far")):
        path = tmp_path / f"set{number}.npz"
        np.savez(path, images=rng.integers(0, 60 * (number + 1), (40, 8, 8, 3)).astype(np.uint8), labels=np.zeros(40, int))
        given.append(f"{role}={path}")
    return given


def test_a_run_is_recorded_resumed_and_its_groups_averaged(run_main, groups, tmp_path, monkeypatch, capsys):
    given = ("--recipe", "openood", "--model", "smallcnn", "--epochs", "3", "--ood", *groups)
    assert run_main(*given)[0] == 0
    folder = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"
    record, log = records.read_record(folder / records.METRICS), (folder / records.EPOCHS).read_text().splitlines()
    recipe = RECIPES["openood"]
    assert record["recipe"] == recipe.described(3)
    assert record["recipe"]["weight_decay"] == 5e-4
    rates = [json.loads(line)["learning_rate"] for line in log]
    assert rates == pytest.approx([0.1, 0.075, 0.025])  # (1 + cos(π/3))/2 = 3/4

    (tmp_path / "runs").rename(tmp_path / "earlier")
    interrupted(run_main, monkeypatch, 2, *given)
    assert run_main(*given)[0] == 0
    again = records.read_record(folder / records.METRICS)
    assert [again[name] for name in ("classification", "detection")] == [record[name] for name in ("classification", "detection")]

    assert analyze.main(["--runs", str(tmp_path / "runs"), "--format", "markdown", "--no-detail"]) == 0
    out = capsys.readouterr().out
    table = out[out.index("means of the near and the far sets") :].strip().splitlines()
    heads, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in (table[2], table[4]))
    assert row[:2] == ["DisMax", "1"]
    for group in ("near", "far"):
        for metric, label in (("auroc", "AUROC"), ("fpr95_out", "FPR@95")):
            values = [
                found["scores"]["calibrated"]["MMLES"][metric] for found in record["detection"].values() if found["role"] == group
            ]
            assert float(row[heads.index(f"{group}-OOD {label} %")]) == pytest.approx(100 * np.mean(values), abs=0.06)
