"""ImageNet's way: class folders of images of any size, streamed, on a small folder in that layout;
the network is torchvision's.
"""

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision import models as torchvision_models
from torchvision.transforms import v2

import main
import predict
from data import class_folders, files, images, sources, splits
from data.batches import Normalizer, TrainingBatches
from data.catalog import CATALOG
from data.decoding import decode
from experiment import records
from experiment.recipes import MOMENTUM, RECIPES
from models import build_model
from tests.common import ROOT, interrupted, without_times
from tests.stepping import epoch_of

SIZES = ((240, 320), (300, 230), (224, 224), (90, 150))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`imagenet1k` with 40 training and 4 test images of each of three classes, and `out` with 6
    others, crops of photographs.
    """
    root = tmp_path_factory.mktemp("downloads")
    rng, photographs = np.random.default_rng(0), load_sample_images().images
    places = [
        (f"imagenet1k/{split}/n0{number}", count)
        for number in range(3)
        for split, count in (("train", 40), ("val", 4))
    ]
    for place, count in (*places, ("out", 6)):
        (root / place).mkdir(parents=True)
        for index in range(count):
            height, width = SIZES[index % len(SIZES)]
            top, left = rng.integers(427 - height + 1), rng.integers(640 - width + 1)
            crop = photographs[index % 2][top : top + height, left : left + width]
            Image.fromarray(crop // (1 + len(place) % 3)).save(root / place / f"{index:02}.JPEG")
    return root


def test_evaluation_sees_torchvisions_centre_crops_and_no_file_is_opened_before(
    folder, monkeypatch
):
    monkeypatch.setattr(Image, "open", None)
    train, test = sources.load_train_and_test("imagenet1k", folder)
    monkeypatch.undo()
    assert (len(train), len(test), train.classes, test.classes) == (
        120,
        12,
        *[("n00", "n01", "n02")] * 2,
    )
    assert test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    usual = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    for path, pixels in zip(test.paths, test.first(12), strict=True):
        assert pixels.equal(usual(decode(Path(os.fsdecode(path))))), path


def test_a_random_crop_is_a_part_of_the_image_of_the_usual_areas_and_its_seeds_own():
    height = width = 160
    ramp = torch.stack(
        [torch.arange(width).expand(height, -1), torch.arange(height)[:, None].expand(-1, width)]
    )
    ramp = torch.cat([ramp, ramp[:1]]).to(torch.uint8)  # its colours say where a pixel lies
    torch.manual_seed(0)
    before, boxes = torch.get_rng_state(), []
    for seed in range(300):
        crop = images.random_crop(ramp, (64, 64), seed)
        assert crop.shape == (3, 64, 64)
        across, down = (
            int(crop[channel].max()) - int(crop[channel].min()) + 1 for channel in (0, 1)
        )
        boxes.append((across * down / (height * width), across / down))
        assert (crop[0].int().diff(dim=1) >= 0).all()
        assert (crop[1].int().diff(dim=0) >= 0).all()
    assert torch.get_rng_state().equal(before)
    areas, shapes = map(np.array, zip(*boxes, strict=True))
    assert 0.07 < areas.min() < 0.15
    assert areas.max() > 0.8
    assert 0.7 < shapes.min() < 0.85
    assert 1.2 < shapes.max() < 1.45
    assert images.random_crop(ramp, (64, 64), 5).equal(images.random_crop(ramp, (64, 64), 5))
    assert not images.random_crop(ramp, (64, 64), 5).equal(images.random_crop(ramp, (64, 64), 6))


def test_each_epoch_has_its_own_crops_and_goes_on_within_it(folder):
    train, _ = sources.load_train_and_test("imagenet1k", folder)
    train = train.take(torch.arange(0, 120, 4))
    batches = TrainingBatches(
        train, Normalizer((0,) * 3, (1,) * 3, torch.device("cpu")), 8, 0, True, torch.device("cpu")
    )
    first, same, second = (epoch_of(batches, seed) for seed in (3, 3, 4))
    rest = epoch_of(batches, 3, start=2)
    for expected, given in zip((*first, *first[2:]), (*same, *rest), strict=True):
        assert all(a.equal(b) for a, b in zip(expected, given, strict=True))
    orders = [torch.randperm(30, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4)]
    for epoch, order in zip((first, second), orders, strict=True):
        assert torch.cat([targets for _, targets in epoch]).equal(train.labels[order])
    seen = [
        torch.cat([inputs for inputs, _ in epoch])[order.argsort()]
        for epoch, order in zip((first, second), orders, strict=True)
    ]
    assert not any(a.equal(b) or a.equal(b.flip(-1)) for a, b in zip(*seen, strict=True))


@pytest.mark.parametrize("depth", [18, 50])
def test_the_network_is_torchvisions(depth):
    torch.manual_seed(0)
    theirs = getattr(torchvision_models, f"resnet{depth}")
    theirs = theirs(num_classes=5, zero_init_residual=True).eval()
    ours = build_model(f"resnet{depth}_imagenet", 5, nn.Linear).eval()
    pairs = list(zip(theirs.parameters(), ours.parameters(), strict=True))
    # The same distributions: the largest is within a few per cent of the other's.
    for drawn, own in pairs[:-2]:
        assert own.shape == drawn.shape
        assert own.std(correction=0).item() == pytest.approx(
            drawn.std(correction=0).item(), rel=0.05, abs=1e-6
        )
        assert own.mean().item() == pytest.approx(drawn.mean().item(), abs=0.005)
    for drawn, own in pairs:
        own.data.copy_(drawn)
    inputs = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs), theirs(inputs))
        layers = ours.layer_features(inputs)
        assert layers[-1].equal(ours.forward_features(inputs))
    assert [layer.shape[1] for layer in layers] == (
        [64, 64, 128, 256, 512] if depth == 18 else [64, 256, 512, 1024, 2048]
    )


def test_the_recipe_is_the_default_and_falls_at_30_and_60_of_90():
    config = main.parse(["--data", "imagenet1k"])
    assert (config.model, config.recipe, config.epochs, config.batch_size) == (
        "resnet18_imagenet",
        "imagenet",
        90,
        256,
    )
    recipe = RECIPES["imagenet"]
    assert (MOMENTUM, recipe.weight_decay) == (0.9, 1e-4)
    rates = [recipe.rate(done, 90) for done in (0, 29.999, 30, 59.999, 60, 89.999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    done = subprocess.run(
        ["bash", ROOT / "run_imagenet1k_resnet18.sh", "--list"], capture_output=True, text=True
    )
    lines = [shlex.split(line)[2:] for line in done.stdout.splitlines()]
    assert [(found.loss, found.seed, found.epochs) for found in map(main.parse, lines)] == [
        ("softmax", 1, 90),
        ("dismax", 1, 90),
    ]


def test_what_is_not_there_is_said_in_one_line(run_main, folder, tmp_path):
    given = ("--data", "imagenet1k", "--data-dir")
    status, _, err = run_main(*given, str(tmp_path))
    assert (status, err.count("\n")) == (2, 1)
    assert (
        f"ImageNet-1k is not in {tmp_path}/imagenet1k/train: put its images there, a folder a class"
        in err
    )
    status, _, err = run_main(*given, str(folder))
    assert (status, err.count("\n")) == (2, 1)
    assert f"ImageNet-O is not in {folder}/imagenet-o" in err
    assert not (tmp_path / "runs").exists()
    (tmp_path / "imagenet1k" / "val" / "a").mkdir(parents=True)
    shutil.copytree(folder / "imagenet1k" / "train", tmp_path / "imagenet1k" / "train")
    assert "imagenet1k/val holds no image files" in run_main(*given, str(tmp_path))[2]
    Image.new("RGB", (5, 5)).save(tmp_path / "imagenet1k" / "val" / "a" / "1.jpg")
    assert (
        "train and test have different classes: of the test set's, a is not among"
        in run_main(*given, str(tmp_path))[2]
    )


@pytest.mark.parametrize("side", [64, pytest.param(224, marks=pytest.mark.slow)])
def test_a_run_is_interrupted_resumed_judged_and_used(
    run_main, folder, tmp_path, monkeypatch, side
):
    """Smaller images train faster; the OOD set is streamed too."""
    if side == 64:
        monkeypatch.setattr(files, "IN_MEMORY", 0)
        smaller = class_folders.ClassFolders("imagenet1k", "ImageNet-1k", side=side, margin=10)
        entry = replace(CATALOG["imagenet1k"], load=smaller.load, side=side, margin=10)
        monkeypatch.setitem(CATALOG, "imagenet1k", entry)
    given = (
        "--data",
        "imagenet1k",
        "--data-dir",
        str(folder),
        "--epochs",
        "2",
        "--batch-size",
        "8",
        "--limit-train",
        "16",
    )
    given += ("--limit-eval", "6", "--ood", f"near={folder}/out", "--loss", "dismax")
    assert run_main(*given)[::2] == (0, "")
    run = tmp_path / "runs" / "imagenet1k" / "resnet18_imagenet" / "dismax" / "1"
    record = records.read_record(run / records.METRICS)
    assert (record["train_images"], record["classification"]["test"]["n"]) == (16, 6)
    assert record["classification"]["validation"]["n"] == 3  # 2 % of 120
    assert record["recipe"]["decay_after"] == [1, 2]
    (found,) = record["detection"].values()
    assert (found["role"], found["n"]) == ("near", 6)
    (tmp_path / "runs").rename(tmp_path / "earlier")
    with pytest.MonkeyPatch.context() as interrupting:
        interrupted(run_main, interrupting, 1, *given)
    assert run_main(*given)[0] == 0
    assert without_times(records.read_record(run / records.METRICS)) == without_times(record)

    # The network sees in predict.py what it saw in evaluation.
    test = sources.load_train_and_test("imagenet1k", folder)[1]
    chosen = splits.limited(len(test), 6).tolist()
    paths = [os.fsdecode(test.paths[position]) for position in chosen]
    out = tmp_path / "found.json"
    assert predict.main([str(run), *paths, "--out", str(out), "--device", "cpu"]) == 0
    logits = (
        torch.from_numpy(np.load(run / records.PREDICTIONS)["test/logits"])
        / record["temperature"]["value"]
    )
    rows = json.loads(out.read_text())
    assert [row["probability"] for row in rows] == pytest.approx(
        logits.softmax(1).amax(1).tolist(), rel=1e-3
    )
