"""A user's folder that holds class folders alone, and images that it holds twice."""

import os
import shutil
from contextlib import chdir

import numpy as np
import pytest
import torch

import detect
from data import duplicates, files, layout, sources
from experiment import records
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
        f"{alone} holds no train and test: 4 of its 20 images are the test set, about a fifth of "
        "each class, the same ones until a file comes or goes; 4 classes: class0, class1, class2, "
        "class3",
    )


@pytest.mark.parametrize("name", [*layout.SPLITS, "Test", "val.npz", "train.TXT"])
@pytest.mark.parametrize("size", [None, 4], ids=["one size", "cropped"])
def test_what_is_named_like_a_split_is_no_class(alone, name, size):
    """A folder with `train` and `val` would else have two classes of these names."""
    (alone / "class3").rename(alone / name)
    if name in ("train", "test"):
        (alone / name).rename(alone / "class3")
        (alone / name).mkdir()
        (alone / "class3").rename(alone / name / "class3")
    with pytest.raises(ValueError, match=f"holds no .* beside {name}: "):
        load(alone, size)


@pytest.mark.parametrize(
    "names",
    [
        ("train2017", "val2017"),
        ("Test set", "trainset"),
        ("bottle/test", "bottle/train"),
        ("seg_test", "seg_train", "seg_pred"),
        ("single_prediction", "test_set", "training_set"),
    ],
)
@pytest.mark.parametrize("size", [None, 4], ids=["one size", "cropped"])
def test_splits_under_other_names_are_no_classes(alone, names, size):
    for number, name in enumerate(names):
        (alone / name).parent.mkdir(exist_ok=True)
        (alone / f"class{number}").rename(alone / name)
    for path in alone.glob("class*"):
        shutil.rmtree(path)
    split = next(name for name in names if "train" in name)
    with pytest.raises(ValueError, match=f"holds no .* .*{split}"):
        load(alone, size)


def test_few_images_of_many_classes_are_split(tmp_path):
    save_folders(tmp_path / "mine", save_npz(tmp_path / "all.npz", labels=np.arange(20) // 2))
    train, test = load(tmp_path / "mine")
    assert sorted(train.labels.tolist()) == list(range(10))
    assert sorted(test.labels.tolist()) == list(range(10))


def test_a_file_that_is_no_split_may_have_such_a_name(alone):
    for name in ("train.py", "test.csv", "README.txt"):
        (alone / name).write_text("text")
    train, _ = load(alone)
    assert len(train) == 16


def test_a_class_without_a_test_image_is_named(tmp_path):
    labels = np.repeat(np.arange(4), (50, 50, 2, 2))
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 6, 6, 3)).astype(np.uint8)
    save_folders(tmp_path / "mine", {"images": images, "labels": labels})
    train, test = load(tmp_path / "mine")
    missing = set(range(4)) - set(test.labels.tolist())
    (name,) = (train.classes[number] for number in missing)
    assert any(note.endswith(f"no images of 1 of 4 classes ({name})") for note in test.notes)


def test_classes_that_cannot_be_split_are_an_error(alone):
    for path in sorted((alone / "class3").iterdir())[1:]:
        path.unlink()
    with pytest.raises(
        ValueError, match="for testing .class3: one image only.: .* or give the folder"
    ):
        load(alone)


def test_runs_may_not_lie_among_the_classes(alone, run_main):
    status, _, error = run_main("--data", str(alone), "--runs", str(alone / "runs"))
    assert status == 2
    assert f"lies among the images of {alone}" in error


def test_a_folder_alone_trains_and_the_run_says_so(alone, run_main):
    given = ("--model", "smallcnn", "--loss", "softmax", "--epochs", "1", "--protocol", "paper")
    with chdir(alone.parent):
        status, out, _ = run_main("--data", "mine", *given, "--ood", "noise", "--runs", "runs")
    assert status == 0
    assert out.startswith(f"warning: {alone} holds no train and test: 4 of its 20 images")
    assert "16 images on cpu" in out
    record = records.read_record(alone.parent / "runs/mine/smallcnn/softmax/1/metrics.json")
    assert out.startswith(f"warning: {record['notes'][0]}\n")
    # A relative --runs means something else in another folder.
    run = alone.parent / "runs" / "mine" / "smallcnn" / "softmax" / "1"
    with chdir(alone / "class0"):
        assert detect.main([str(run), "--scores", "knn", "--device", "cpu"]) == 0


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
        "1 of 13 training images are copies of others: some may be in training and validation "
        "at once " + pair
    )
    assert classes == f"2 of 22 images have a copy in another class {pair}"


def test_copies_in_arrays_are_counted(tmp_path):
    arrays = save_npz(tmp_path / "train.npz")
    rolled = {name: np.roll(each, 1, axis=0)[:6] for name, each in arrays.items()}
    save_npz(tmp_path / "test.npz", **rolled)
    assert warnings(tmp_path) == [
        "6 of 6 test images are training images too: the results will look better than on new "
        "images (such as images[1] of test, equal to images[0] of train)"
    ]


def test_a_list_that_is_train_and_test_is_noticed(tmp_path):
    lines = save_lists(tmp_path / "all", save_npz(tmp_path / "all.npz"))
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text(lines)
    (warning,) = warnings(tmp_path)
    assert warning.startswith("20 of 20 test images are training images too")
    assert warning.endswith("all/000.png, which is listed twice)")


def test_a_file_is_read_to_its_end_only_if_size_and_beginning_are_another_ones(alone, monkeypatch):
    """A large set has many files, and to read them all would take minutes."""
    paths = sorted(alone.rglob("*.png"))
    for path in paths:
        path.write_bytes(path.read_bytes()[:50].ljust(50, b"\0") + os.urandom(2**16))
    paths[7].write_bytes(paths[3].read_bytes())
    whole = []

    def digest(path, length=-1):
        whole.extend([os.fsdecode(path)] if length < 0 else [])
        return duplicates_digest(path, length)

    duplicates_digest = duplicates._digest
    monkeypatch.setattr(duplicates, "_digest", digest)
    assert warnings(alone, 4)
    assert sorted(whole) == [str(paths[3]), str(paths[7])]
