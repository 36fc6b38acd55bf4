"""Data that changed between an interruption and going on is noticed."""

import os
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

import detect
import main
from data import files, fingerprint, sources
from data.images import Images
from dismax import archive
from experiment import changes, records
from tests.common import interrupted
from tests.finished_runs import contents
from training import checkpoint

GIVEN = ("--model", "smallcnn", "--loss", "softmax", "--epochs", "2", "--ood", "noise")


@pytest.fixture
def mine(tmp_path):
    """Two classes of 20 images to train on and 4 to test on each, 8×8, uncompressed."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for number, name in enumerate(("dark", "light")):
            (tmp_path / "mine" / split / name).mkdir(parents=True)
            for each in range(count):
                pixels = rng.integers(100 * number, 100 * number + 150, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "mine" / split / name / f"{each:02}.bmp")
    return tmp_path / "mine"


def other_pixel(train):
    path = train / "dark" / "07.bmp"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def other_label(train):
    (train / "dark" / "07.bmp").rename(train / "light" / "007.bmp")


def one_more(train):
    shutil.copy(train / "dark" / "07.bmp", train / "dark" / "99.bmp")


def one_fewer(train):
    (train / "dark" / "07.bmp").unlink()


def swapped(train):
    a, b = train / "dark" / "07.bmp", train / "light" / "07.bmp"
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)


def other_name(train):
    (train / "dark").rename(train / "black")
    (train.parent / "test" / "dark").rename(train.parent / "test" / "black")


@pytest.mark.parametrize(
    "change", [other_pixel, other_label, one_more, one_fewer, swapped, other_name]
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_fingerprint_changes_with_every_change_of_the_data(
    mine, tmp_path, monkeypatch, change, streamed
):
    monkeypatch.setattr(files, "IN_MEMORY", 0 if streamed else 2**40)

    def found():
        train, test = sources.load_train_and_test(str(mine), tmp_path)
        return fingerprint.of(train), fingerprint.of(test)

    before = found()
    for each in mine.rglob("*.bmp"):
        os.utime(each, (1, 1))  # a copy is the same data
    assert found() == before
    change(mine / "train")
    after = found()
    assert after[0] != before[0]
    assert (after[1] == before[1]) == (change is not other_name)


def test_a_fingerprint_of_memory_tells_pixels_shapes_labels_and_classes_apart():
    pixels, labels = (
        torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4),
        torch.tensor([0, 1]),
    )
    given = [
        Images(pixels, labels, ("a", "b")),
        Images(pixels.view(2, 3, 2, 8), labels, ("a", "b")),
        Images(pixels.flip(0), labels, ("a", "b")),
        Images(pixels, labels.flip(0), ("a", "b")),
        Images(pixels, labels, ("a", "c")),
        Images(pixels[:1].expand(2, -1, -1, -1), labels, ("a", "b")),
    ]
    assert len({fingerprint.of(each) for each in given}) == len(given)


@pytest.mark.parametrize(("change", "streamed"), [(one_fewer, False), (other_pixel, True)])
def test_a_run_does_not_go_on_with_other_data(
    mine, tmp_path, run_main, monkeypatch, change, streamed
):
    if streamed:
        monkeypatch.setattr(files, "IN_MEMORY", 0)
    given = ("--data", str(mine), "--protocol", "paper", *GIVEN)
    with monkeypatch.context() as context:
        interrupted(run_main, context, 1, *given)
    shutil.copytree(mine, tmp_path / "kept")
    change(mine / "train")
    folder = tmp_path / "runs" / "mine" / "smallcnn" / "softmax" / "1"
    before = (folder / records.LAST).read_bytes()
    status, _, err = run_main(*given)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{folder}: the content of train has changed since its checkpoint: restore it" in err
    assert (folder / records.LAST).read_bytes() == before
    shutil.rmtree(mine)
    shutil.copytree(tmp_path / "kept", mine)
    status, out, _ = run_main(*given)
    assert status == 0
    assert "resuming after epoch 1 of 2" in out
    record = records.read_record(folder / records.METRICS)
    assert record["fingerprints"].keys() == {"train", "test", "noise"}


def test_a_checkpoint_without_a_fingerprint_still_resumes(mine, tmp_path, run_main, monkeypatch):
    given = ("--data", str(mine), *GIVEN)
    interrupted(run_main, monkeypatch, 1, *given)
    path = tmp_path / "runs" / "mine" / "smallcnn" / "softmax" / "1" / records.LAST
    saved = checkpoint.load(path)
    assert saved.pop("data").keys() == {"train", "validation"}
    archive.save(path, saved)
    status, out, _ = run_main(*given)
    assert (status, "resuming after epoch 1" in out) == (0, True)


def test_a_finished_run_of_other_images_is_not_skipped(
    mine, tmp_path, run_main, capsys, monkeypatch
):
    given = ("--data", str(mine), "--protocol", "paper", *GIVEN)
    time.sleep(1)  # a record has the second in which its run began
    assert run_main(*given)[0] == 0
    before = contents(tmp_path / "runs")
    other = mine.with_name("other")
    shutil.copytree(mine, other)
    with monkeypatch.context() as patched:
        patched.setattr(changes, "load_data", None)  # no file is newer than the run
        assert run_main(*given)[0] == 0
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    assert run_main(*given)[0] == 0  # newer files with the same images
    other_pixel(mine / "train")
    capsys.readouterr()
    assert main.main([*given, "--runs", str(tmp_path / "runs")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "is finished, but the images or labels of train have changed since" in err
    assert contents(tmp_path / "runs") == before


def test_another_ood_image_is_noticed_and_links_that_lead_back_are_followed_once(
    mine, tmp_path, run_main, capsys
):
    ood = tmp_path / "ood"
    shutil.copytree(mine / "test" / "dark", ood)
    for number in range(12):  # without a guard, 2¹² folders and more
        (mine / "train" / "dark" / f".back{number}").symlink_to(mine / "train")
    given = ["--data", str(mine), "--protocol", "paper", *GIVEN[:-2], "--ood", str(ood)]
    assert run_main(*given)[0] == 0
    shutil.copy(mine / "test" / "light" / "00.bmp", ood / "00.bmp")
    status, _, err = run_main(*given)
    assert (status, err.count("\n")) == (2, 1)
    assert f"the images or labels of {ood} have changed" in err
    shutil.rmtree(mine / "test")
    (mine / "note.txt").write_text("")
    status, _, err = run_main(*given)
    assert (status, err.count("\n")) == (2, 1)


def test_a_link_to_other_images_that_are_older_is_noticed(mine, tmp_path, run_main):
    link = tmp_path / "current"
    shutil.copytree(mine, tmp_path / "other")
    shutil.copy(mine / "test" / "dark" / "00.bmp", tmp_path / "other" / "test" / "dark" / "01.bmp")
    time.sleep(1)
    link.symlink_to(mine)
    given = ("--data", str(link), "--protocol", "paper", *GIVEN)
    assert run_main(*given)[0] == 0
    time.sleep(1)  # a record has the second in which its run began
    link.unlink()
    link.symlink_to(tmp_path / "other")
    status, _, err = run_main(*given)
    assert (status, "the images or labels of test have changed" in err) == (2, True)


def test_image_lists_of_another_data_directory_are_noticed(mine, tmp_path, run_main):
    for name, value in (("a", 0), ("b", 200)):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8), value).save(tmp_path / name / "0.png")
    (tmp_path / "near.txt").write_text("0.png -1\n")
    time.sleep(1)  # a record has the second in which its run began
    given = ("--data", str(mine), "--ood", str(tmp_path / "near.txt"), "--data-dir")
    assert run_main(*given, str(tmp_path / "a"))[0] == 0
    status, _, err = run_main(*given, str(tmp_path / "b"))
    assert (status, f"labels of {tmp_path / 'near.txt'} have changed" in err) == (2, True)


@pytest.mark.parametrize("split", ["train", "test"])
def test_detectors_are_not_fitted_to_other_images_than_the_network(
    mine, tmp_path, run_main, capsys, split
):
    assert run_main("--data", str(mine), "--protocol", "paper", *GIVEN)[0] == 0
    given = [str(tmp_path / "runs"), "--scores", "knn", "--device", "cpu"]
    assert detect.main(given) == 0
    if split == "train":
        other_pixel(mine / "train")
    else:
        shutil.copy(mine / "test" / "dark" / "00.bmp", mine / "test" / "dark" / "01.bmp")
    capsys.readouterr()
    assert detect.main(given) == 2
    assert (
        f"the images or labels of {split} differ from those of the run" in capsys.readouterr().err
    )
