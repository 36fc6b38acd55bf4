"""OpenOOD's recipe: what it leaves open, what it records, and its groups in the tables."""

import json

import numpy as np
import pytest
import torch

import analyze
import main
from data import sources
from data.images import Images
from data.torchvision_sets import TorchvisionSet
from experiment import records
from experiment.data import load_data
from experiment.recipes import RECIPES
from reporting.groups import HEADS, group_rows
from tests.common import interrupted


@pytest.mark.parametrize(("data", "near"), [("cifar10", "cifar100"), ("cifar100", "cifar10")])
def test_the_recipe_alone_says_how_and_on_what(data, near):
    config = main.parse(["--data", data, "--recipe", "openood"])
    assert (config.model, config.epochs, config.batch_size) == ("resnet18", 100, 128)
    groups = sources.ood_sets(config.data, config.ood, config.recipe)
    assert [source for role, source in groups if role == "near"] == [near, "tinyimagenet"]
    assert [source for role, source in groups if role == "far"] == [
        "mnist",
        "svhn",
        "textures",
        "places365",
    ]
    own = [
        "--model",
        "resnet34",
        "--epochs",
        "7",
        "--batch-size",
        "32",
        "--ood",
        "svhn",
        near,
        "lsun_resize",
    ]
    config = main.parse(["--data", data, "--recipe", "openood", *own])
    assert (config.model, config.epochs, config.batch_size) == ("resnet34", 7, 32)
    assert config.ood == ("far=svhn", f"near={near}", "far=lsun_resize")  # in the recipe's roles
    paper = main.parse(["--data", data])
    assert (paper.recipe, paper.batch_size, paper.epochs, paper.model) == (
        "paper",
        64,
        300,
        "densenetbc100",
    )
    with pytest.raises(ValueError, match="--recipe is one of paper, .*got 'mine'"):
        main.parse(["--recipe", "mine"])


@pytest.mark.parametrize(
    ("data", "recipe", "mean", "std"),
    [
        ("cifar10", "openood", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("cifar100", "openood", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        ("cifar10", "paper", (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)),
        ("cifar100", "paper", (0.507, 0.486, 0.440), (0.267, 0.256, 0.276)),
    ],
)
def test_images_are_normalised_with_the_recipes_own_digits(monkeypatch, data, recipe, mean, std):
    pixels = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)
    few = Images(pixels, torch.arange(40) % 10, tuple(map(str, range(10))))
    monkeypatch.setattr(TorchvisionSet, "load_split", lambda *_: few)
    given = ["--data", data, "--recipe", recipe, "--ood", "noise", "--protocol", "paper"]
    found = load_data(main.parse(given))
    assert (found.mean, found.std) == (mean, std)


@pytest.fixture
def groups(tmp_path):
    """Two near and two far sets in the user's own files."""
    rng = np.random.default_rng(0)
    given = []
    for number, role in enumerate(("near", "near", "far", "far")):
        path = tmp_path / f"set{number}.npz"
        np.savez(
            path,
            images=rng.integers(0, 60 * (number + 1), (40, 8, 8, 3)).astype(np.uint8),
            labels=np.zeros(40, int),
        )
        given.append(f"{role}={path}")
    return given


def test_a_run_is_recorded_resumed_and_its_groups_averaged(
    run_main, groups, tmp_path, monkeypatch, capsys
):
    given = ("--recipe", "openood", "--model", "smallcnn", "--epochs", "3", "--ood", *groups)
    assert run_main(*given)[0] == 0
    folder = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"
    record, log = (
        records.read_record(folder / records.METRICS),
        (folder / records.EPOCHS).read_text().splitlines(),
    )
    recipe = RECIPES["openood"]
    assert record["recipe"] == recipe.as_record(3)
    assert record["recipe"]["weight_decay"] == 5e-4
    rates = [json.loads(line)["learning_rate"] for line in log]
    assert rates == pytest.approx([0.1, 0.075, 0.025])  # (1 + cos(π/3))/2 = 3/4

    (tmp_path / "runs").rename(tmp_path / "earlier")
    interrupted(run_main, monkeypatch, 2, *given)
    assert run_main(*given)[0] == 0
    again = records.read_record(folder / records.METRICS)
    assert [again[name] for name in ("classification", "detection")] == [
        record[name] for name in ("classification", "detection")
    ]

    assert (
        analyze.main(["--runs", str(tmp_path / "runs"), "--format", "markdown", "--no-detail"]) == 0
    )
    out = capsys.readouterr().out
    table = out[out.index("means of near and far sets") :].strip().splitlines()
    lines = (table[2], *table[4:])
    heads, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    said = [["DisMax", "MMLES, T = 1", "1"], ["DisMax", "MMLES, fitted T", "1"]]
    assert [row[:3] for row in rows] == said
    sets = record["detection"].values()
    for row, at in zip(rows, ("t1", "calibrated"), strict=True):
        for group in ("near", "far"):
            of_group = [found["scores"][at]["MMLES"] for found in sets if found["role"] == group]
            for metric, label in (("auroc", "AUROC"), ("fpr95_out", "FPR@95")):
                mean = 100 * np.mean([found[metric] for found in of_group])
                printed = float(row[heads.index(f"{group}-OOD {label} %")])
                assert printed == pytest.approx(mean, abs=0.06)


def made_up(score, values):
    """A record with a set for each (role, metrics at T = 1, metrics at the fitted T).

    The metrics are AUROC and FPR@95.
    """
    detection = {}
    for number, (role, *both) in enumerate(values):
        metrics = [{"auroc": auroc, "fpr95_out": rate} for auroc, rate in both]
        scores = {"t1": {score: metrics[0]}, "calibrated": {score: metrics[1]}}
        detection[str(number)] = {"role": role, "scores": scores}
    return {"score": score, "detection": detection}


METRICS = [("near", (0.9, 0.5)), ("near", (0.8, 0.4)), ("far", (1.0, 0.0)), ("far", (0.7, 0.0))]
ALIKE = [(role, metrics, metrics) for role, metrics in METRICS]


def test_a_method_has_a_row_at_each_temperature_unless_they_are_the_same():
    changed = [(role, one, (one[0] - 0.1, one[1] + 0.1)) for role, one in METRICS]
    runs = [("SoftMax", made_up("MPS", changed)), ("IsoMax+", made_up("MDS", ALIKE))]
    runs += [("SoftMax", made_up("MPS", changed)), ("No groups", made_up("MPS", ALIKE[:3]))]
    softmax = (
        ["85.0±.0", "45.0±.0", "85.0±.0", "0.0±.0"],
        ["75.0±.0", "55.0±.0", "75.0±.0", "10.0±.0"],
    )
    assert group_rows(runs) == [
        ["SoftMax", "MPS, T = 1 (MSP)", "2", *softmax[0]],
        ["SoftMax", "MPS, fitted T (TempScale)", "2", *softmax[1]],
        ["IsoMax+", "MDS", "1", "85.0", "45.0", "85.0", "0.0"],
    ]
    # One value of one run that differs, by less than is printed, is enough.
    once = [*ALIKE[:3], ("far", (0.7, 0), (0.7, 1e-9))]
    both = group_rows([("DisMax", made_up("MMLES", ALIKE)), ("DisMax", made_up("MMLES", once))])
    assert [row[:3] for row in both] == [
        ["DisMax", "MMLES, T = 1", "2"],
        ["DisMax", "MMLES, fitted T", "2"],
    ]
    assert group_rows([]) == []


def test_the_groups_table_fits_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    scores = {"SoftMax": "MPS", "Deep Ensemble of 10": "MPS", "DisMax without FPR": "MMLES"}
    scores |= {"GODIN, inner product": "max h"}
    values = [(role, (1.0, 1.0), (0.5, 0.5)) for role, _ in METRICS]
    worse = [(role, (0.0, 0.0), (0.9, 0.9)) for role, _ in METRICS]
    runs = [(name, made_up(scores[name], each)) for each in (values, worse) for name in scores]
    analyze.print_table(group_rows(runs), HEADS, analyze.STYLES["table"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for said in ("MPS, fitted T", "(TempScale)", "MMLES, fitted T", "50.0±70.7"):
        assert said in out
