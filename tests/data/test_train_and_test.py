"""A user's folder that holds class folders alone, and images that it holds twice."""

import shutil

import numpy as np
import pytest
import torch

from data import files, sources
from tests.image_files import save_folders, save_lists, save_npz


def load(folder, size=None):
    return sources.load_train_and_test(str(folder), folder, size)


@pytest.fixture
def alone(tmp_path):
    """A folder of four class folders with five images each."""
    save_folders(tmp_path / "mine", save_npz(tmp_path / "all.npz"))
    return tmp_path / "mine"


@pytest.mark.parametrize("size", [None, 4], ids=["one size", "cropped"])
def test_class_folders_alone_are_split_once_and_for_all(alone, size):
    train, test = load(alone, size)
    assert train.labels.bincount().tolist() == [4] * 4
    assert test.labels.bincount().tolist() == [1] * 4
    assert train.classes == test.classes == ("class0", "class1", "class2", "class3")
    again, _ = load(alone, size)
    assert again.first(99).equal(train.first(99))
    # The parts are the whole.
    whole = files.load_cropped(alone, (4, 4), 1) if size else files.load_split(alone)
    parts = torch.cat([train.first(99), test.first(99)]).flatten(1)
    assert sorted(parts.tolist()) == sorted(whole.first(99).flatten(1).tolist())
    assert test.notes == ()
    assert train.notes == (
        f"{alone} holds no train and test: 4 of its 20 images are the test set, a fifth of each "
        "class, the same ones in every run",
    )


@pytest.mark.parametrize("name", ["train", "Test", "val", "validation", "test.npz", "train.txt"])
@pytest.mark.parametrize("size", [None, 4], ids=["one size", "cropped"])
def test_what_is_named_like_a_split_is_no_class(alone, name, size):
    """A folder with `train` and `val` would else have two classes of these names."""
    if "." in name:
        (alone / name).write_bytes(b"")
    else:
        (alone / "class3").rename(alone / name)
    with pytest.raises((ValueError, OSError), match="holds no|holds images|lists no images"):
        load(alone, size)


def test_classes_that_cannot_be_split_are_an_error(alone):
    for path in sorted((alone / "class3").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ValueError, match="cannot hold out 4 of 16 images for testing .* give the"):
        load(alone)


def test_runs_may_not_lie_among_the_classes(alone, run_main):
    status, _, error = run_main("--data", str(alone), "--runs", str(alone / "runs"))
    assert status == 2
    assert f"lies among the images of {alone}" in error


def test_a_folder_alone_trains_and_the_run_says_so(alone, run_main):
    given = ("--model", "smallcnn", "--loss", "softmax", "--epochs", "1", "--protocol", "paper")
    status, out, _ = run_main("--data", str(alone), *given, "--ood", "noise")
    assert status == 0
    assert out.startswith(f"warning: {alone} holds no train and test: 4 of its 20 images")
    assert "16 images on cpu" in out


def warnings(folder, size=None):
    return [note for note in load(folder, size)[0].notes if "such as" in note]


@pytest.mark.parametrize("size", [None, 4], ids=["one size", "cropped"])
def test_copies_of_images_are_named(tmp_path, size):
    arrays = save_npz(tmp_path / "all.npz")
    for split, part in (("train", slice(0, 12)), ("test", slice(12, 20))):
        save_folders(tmp_path / split, {name: each[part] for name, each in arrays.items()})
    assert warnings(tmp_path, size) == []
    train, test = tmp_path / "train", tmp_path / "test"
    shutil.copy(train / "class0" / "000.png", test / "class0" / "copy.png")
    assert warnings(tmp_path, size) == [
        "1 of 9 test images are training images too: the results will look better than on new "
        f"images (such as {test}/class0/copy.png, equal to {train}/class0/000.png)"
    ]
    shutil.copy(train / "class1" / "001.png", train / "class2" / "x.png")
    _, within, classes = warnings(tmp_path, size)
    pair = f"(such as {train}/class2/x.png, equal to {train}/class1/001.png)"
    assert within == (
        "1 of 13 training images are copies of others: some may train and also be held out " + pair
    )
    assert classes == f"1 of 22 images have a copy in another class {pair}"


def test_copies_in_arrays_are_counted(tmp_path):
    arrays = save_npz(tmp_path / "train.npz")
    save_npz(tmp_path / "test.npz", images=np.roll(arrays["images"], 1, 0)[:6])
    with pytest.raises(ValueError, match="labels"):
        load(tmp_path)
    save_npz(
        tmp_path / "test.npz",
        images=np.roll(arrays["images"], 1, 0)[:6],
        labels=np.roll(arrays["labels"], 1)[:6],
    )
    assert warnings(tmp_path) == [
        "6 of 6 test images are training images too: the results will look better than on new "
        "images (such as images[1] of test, equal to images[0] of train)"
    ]


def test_a_list_that_is_train_and_test_is_noticed(tmp_path):
    lines = save_lists(tmp_path / "all", save_npz(tmp_path / "all.npz"))
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text(lines)
    assert warnings(tmp_path)[0].startswith("20 of 20 test images are training images too")


def test_files_are_read_only_if_another_has_their_size(alone, monkeypatch):
    """A large set has many files, and to read them all would take minutes."""
    read = []
    monkeypatch.setattr("data.duplicates.open_regular", lambda path: read.append(path))
    for number, path in enumerate(sorted(alone.rglob("*.png"))):
        with path.open("ab") as file:
            file.write(b"\0" * (number * 1000))
    load(alone, 4)
    assert read == []
