"""Users' own copies of known data sets are told from others by what they hold."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import copies, images, sources, torchvision_sets
from data.catalog import CATALOG
from data.copies import Contents

NAMES = tuple("abcde")


@pytest.fixture
def real(monkeypatch):
    """A small set in the place of CIFAR-10: 30 images of five classes a split, uint8 [30, 8, 8, 3],
    and their labels.
    """
    rng = np.random.default_rng(0)
    splits = {
        split: (rng.integers(256, size=(30, 8, 8, 3), dtype=np.uint8), np.arange(30) % 5)
        for split in ("train", "test")
    }
    contents = {}
    for split, (pixels, labels) in splits.items():
        held = images.Images(
            torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels), NAMES
        )
        contents[split] = Contents(30, 5, copies.checksum(held), (8, 8))
    monkeypatch.setitem(CATALOG, "cifar10", small_cifar10(contents).training_set(ood_sets=()))
    return splits


def small_cifar10(contents):
    return torchvision_sets.cifar("cifar10", "CIFAR-10", contents)


UNVERIFIED = dict.fromkeys(("train", "test"), Contents(30, 5, size=(8, 8)))


def write(folder: Path, split: str, pixels, labels, kind: str, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "npz":
        np.savez(folder / f"{split}.npz", images=pixels, labels=labels)
        return
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = folder / split / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02}.png")


@pytest.mark.parametrize("kind", ["npz", "folders"])
def test_a_copy_in_any_order_is_the_set(tmp_path, real, kind):
    order = np.random.default_rng(1).permutation(30)
    for split, (pixels, labels) in real.items():
        write(tmp_path / "cifar10", split, pixels[order], labels[order], kind)
    train, test = sources.load_train_and_test("cifar10", tmp_path)
    assert len(train) == len(test) == 30
    assert train.classes == (NAMES if kind == "folders" else tuple("01234"))
    assert train.notes == test.notes == ()
    outside = sources.load_ood("cifar10", tmp_path, train.first(1))
    assert outside.pixels.equal(test.pixels)


def with_another_pixel(pixels, labels):
    changed = pixels.copy()
    changed[3, 2, 1, 0] ^= 1
    return changed, labels


def with_another_label(pixels, labels):
    return pixels, np.where(np.arange(30) == 7, (labels + 1) % 5, labels)


def with_classes_in_another_order(pixels, labels):
    return pixels, (labels + 1) % 5


def with_one_image_fewer(pixels, labels):
    return pixels[:-1], labels[:-1]


def with_an_image_twice(pixels, labels):
    return np.concatenate([pixels[:-1], pixels[4:5]]), labels


def with_a_class_fewer(pixels, labels):
    return pixels, np.minimum(labels, 3)


def smaller(pixels, labels):
    return pixels[:, :7], labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_another_pixel, "differ"),
        (with_another_label, "differ"),
        (with_classes_in_another_order, "usual order"),
        (with_one_image_fewer, "it holds 29 images .*, instead of 30 images"),
        (with_an_image_twice, "differ"),
        (with_a_class_fewer, "labels from 0 to 3, instead of .* from 0 to 4"),
        (smaller, "30 images of 7×8 pixels"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "folders"])
def test_another_set_under_its_name_is_refused(tmp_path, real, kind, change, message):
    write(tmp_path / "cifar10", "train", *change(*real["train"]), kind)
    write(tmp_path / "cifar10", "test", *real["test"], kind)
    with pytest.raises(
        ValueError,
        match=rf"cifar10.train.* is not the train split of CIFAR-10: .*{message}.*--data .*cifar10",
    ):
        sources.load_train_and_test("cifar10", tmp_path)


def test_a_set_whose_checksum_is_not_known_is_called_unverified(tmp_path, real, monkeypatch):
    monkeypatch.setitem(CATALOG, "cifar10", small_cifar10(UNVERIFIED).training_set(ood_sets=()))
    for split, arrays in real.items():
        write(tmp_path / "cifar10", split, *arrays, "npz")
    train, test = sources.load_train_and_test("cifar10", tmp_path)
    outside = sources.load_ood("cifar10", tmp_path, train.first(1))
    for part, split in ((train, "train"), (test, "test"), (outside, "test")):
        (note,) = part.notes
        assert f"{split}.npz is not verified" in note


def test_torchvisions_files_come_first_and_neither_is_an_error_with_both_ways_out(tmp_path, real):
    write(tmp_path / "cifar10", "train", *real["train"], "npz")
    with pytest.raises(
        FileNotFoundError, match=r"bash prepare-cifar.sh cifar10`, or put a copy into .*cifar10"
    ):
        sources.load_ood("cifar10", tmp_path, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
    with pytest.raises(FileNotFoundError, match="missing or damaged"):
        sources.load_train_and_test("cifar10", tmp_path)


def test_a_copy_in_the_current_folder_is_the_set_of_the_catalog(tmp_path, real, monkeypatch):
    for split, arrays in real.items():
        write(tmp_path / "cifar10", split, *arrays, "npz")
    monkeypatch.chdir(tmp_path)
    assert sources.absolute_source("cifar10", Path()) == "cifar10"
    with pytest.raises(ValueError, match="a set of the catalog and a path here"):
        sources.absolute_source("cifar10", tmp_path / "elsewhere")


def test_labels_that_begin_at_1_are_said_so(tmp_path, real):
    pixels, labels = real["train"]
    write(tmp_path / "cifar10", "train", pixels, labels + 1, "npz")
    with pytest.raises(
        ValueError, match="with labels from 1 to 5, instead of .* with labels from 0 to 4"
    ):
        copies.load("cifar10", "CIFAR-10", "train", UNVERIFIED["train"], tmp_path)


def test_splits_whose_classes_have_other_numbers_are_matched_by_name(tmp_path, real, monkeypatch):
    monkeypatch.setitem(CATALOG, "cifar10", small_cifar10(UNVERIFIED).training_set(ood_sets=()))
    write(tmp_path / "cifar10", "train", *real["train"], "folders")
    pixels, labels = real["test"]
    np.savez(
        tmp_path / "cifar10" / "test.npz",
        images=pixels,
        labels=4 - labels,
        class_names=np.array(NAMES[::-1]),
    )
    train, test = sources.load_train_and_test("cifar10", tmp_path)
    assert test.classes == train.classes == NAMES
    assert test.labels.equal(torch.from_numpy(labels))
