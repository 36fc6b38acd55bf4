"""The sets in a user's folder: which are used, and the folder's own validation set."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from data import train_and_test
from experiment.config import RunConfig
from experiment.data import load_data
from tests.image_files import save_folders, save_lists, save_npz


@pytest.fixture(params=[".npz", ".txt", ""], ids=["npz", "list", "folders"])
def with_validation(request, tmp_path):
    """A folder with train, val and test in one of the three forms: 40, 12 and 8 images."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for seed, (name, count) in enumerate((("train", 40), ("val", 12), ("test", 8))):
        images = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
        arrays = save_npz(folder / f"{name}.npz", count, images=images)
        if request.param != ".npz":
            (folder / f"{name}.npz").unlink()
        if request.param == ".txt":
            text = save_lists(folder / f"{name}_images", arrays)
            (folder / f"{name}.txt").write_text(text)
        elif not request.param:
            save_folders(folder / name, arrays)
    return folder


def load_run(folder, **options):
    return load_data(RunConfig(data=str(folder), data_dir=folder, ood=("noise",), **options))


def test_a_folders_own_validation_set_is_the_one_that_is_used(with_validation):
    data = load_run(with_validation)
    assert len(data.train) == 40
    assert {name: len(part) for name, part in data.evaluation.items()} == {
        "test": 8,
        "validation": 12,
    }
    assert data.calibration_split == "validation"
    pixels = np.random.default_rng(1).integers(0, 256, (12, 6, 6, 3)).astype(np.uint8)
    found = data.evaluation["validation"].first(99).permute(0, 2, 3, 1)
    assert sorted(found.flatten(1).tolist()) == sorted(pixels.reshape(12, -1).tolist())
    assert data.notes == ()


def test_the_papers_protocol_says_that_it_does_not_use_a_validation_set(with_validation):
    data = load_run(with_validation, protocol="paper")
    assert list(data.evaluation) == ["test"]
    assert data.notes == (f"{with_validation}: --protocol paper does not use its validation set",)


def test_a_validation_set_of_photographs_is_cropped(tmp_path):
    for name in ("train", "valid", "test"):
        save_folders(tmp_path / name, save_npz(tmp_path / "all.npz"))
    (tmp_path / "all.npz").unlink()
    data = load_run(tmp_path, size=4)
    assert data.evaluation["validation"].first(99).shape == (20, 3, 4, 4)
    assert [note.split(" (")[0] for note in data.notes] == [
        "20 of 20 test images are training images too: the results will look better than on new "
        "images",
        "20 of 20 validation images are training images too: the temperature and the thresholds "
        "will not fit new images",
        "20 of 20 test images are validation images too: the results will look better than on new "
        "images",
    ]


def test_only_one_validation_set_may_be_there_and_what_is_unused_is_said(with_validation):
    (with_validation / "dev").mkdir()
    (with_validation / "eval.npz").touch()
    suffix = min(with_validation.glob("train*")).suffix
    used = ", ".join(f"{name}{suffix}" for name in ("test", "train", "val"))
    others = "eval.npz" if suffix == ".txt" else "dev, eval.npz"  # a list's images may be in dev
    assert load_run(with_validation).notes == (
        f"{with_validation}: only {used} are used, not {others}",
    )
    (with_validation / "valid").mkdir()
    with pytest.raises(ValueError, match=r"several validation sets \(val.*, valid\): keep one"):
        load_run(with_validation)


@pytest.mark.parametrize("streamed", [(), ("train",), ("test",), ("train", "val", "test")])
def test_images_of_two_sets_are_found_in_memory_and_in_files(tmp_path, monkeypatch, streamed):
    counts = {"train": 20, "val": 12, "test": 8}
    for name, count in counts.items():
        images = np.zeros((count, 6, 6, 3), np.uint8)  # each image is in all sets
        save_folders(tmp_path / "mine" / name, save_npz(tmp_path / "x.npz", count, images=images))

    def decode(images):
        name = Path(os.fsdecode(images.paths[0])).parts[-3]
        return images if name in streamed else images.decoded()

    monkeypatch.setattr(train_and_test, "decode_if_small", decode)
    notes = " ".join(load_run(tmp_path / "mine").notes)
    for note in ("8 of 8 test", "12 of 12 validation", "8 of 8 test images are validation"):
        assert note in notes


def test_lists_beside_cropped_class_folders_are_not_used(tmp_path):
    for name in ("train", "val", "test"):
        save_folders(tmp_path / name, save_npz(tmp_path / "x.npz"))
        (tmp_path / f"{name}.txt").write_text("x.png 0\n")
    (tmp_path / "x.npz").unlink()
    data = load_run(tmp_path, size=4)
    assert len(data.evaluation["validation"]) == 20
    assert "only test, train, val are used, not test.txt, train.txt, val.txt" in data.notes[0]


def test_a_val_folder_without_classes_says_how_to_go_on(tmp_path):
    for name in ("train", "val", "test"):
        save_folders(tmp_path / name, save_npz(tmp_path / "x.npz"))
    (tmp_path / "x.npz").unlink()
    shutil.copy(tmp_path / "val" / "class0" / "000.png", tmp_path / "val")
    with pytest.raises(ValueError, match="or rename val: then some training images are held out"):
        load_run(tmp_path)


def test_a_validation_set_must_have_the_size_and_the_classes_of_the_training_set(tmp_path):
    for name in ("train", "test"):
        save_npz(tmp_path / f"{name}.npz")
    save_npz(tmp_path / "val.npz", size=8)
    with pytest.raises(ValueError, match="train and validation images differ in size"):
        load_run(tmp_path)
    save_npz(tmp_path / "val.npz", labels=np.full(20, 7))
    with pytest.raises(ValueError, match="validation: labels run from 7 to 7, outside 0 to 3"):
        load_run(tmp_path)


def test_an_npz_beside_a_folder_of_the_same_name_is_said_to_be_used(tmp_path):
    for name in ("train", "test"):
        save_folders(tmp_path / name, save_npz(tmp_path / f"{name}.npz"))
    assert load_run(tmp_path).notes[0] == (
        f"{tmp_path}: only test.npz, train.npz are used, not test, train"
    )
    assert load_run(tmp_path, size=4).notes[0] == (
        f"{tmp_path}: only test, train are used, not test.npz, train.npz"
    )
