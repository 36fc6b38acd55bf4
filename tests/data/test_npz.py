"""Images in .npz files."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from data import files, npz, sources
from tests.image_files import save_npz


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((20, 6, 6, 3), np.float32)}, "uint8"),
        ({"images": np.zeros((20, 6, 6), np.uint8)}, "uint8"),
        ({"images": np.zeros((0, 6, 6, 3), np.uint8), "labels": np.zeros(0, int)}, "uint8"),
        ({"labels": np.zeros(19, int)}, "labels must be integers"),
        ({"labels": np.zeros(20)}, "labels must be integers"),
        ({"labels": np.array([{}] * 20)}, "holds pickled objects"),
        ({"labels": None}, "images and labels"),
        ({"labels": None, "targets": np.zeros(20, int)}, "the arrays in it are images, targets"),
        ({"images": None, "x": np.zeros(20)}, "the arrays in it are labels, x"),
        ({"labels": np.arange(20) - 1}, "without a gap, got -1, 0, 1"),
        ({"labels": np.arange(20) % 4 * 2**60}, "without a gap, got 0, 1152921504606846976"),
        ({"labels": np.zeros(20, int)}, "one class only"),
        ({"class_names": np.array(["a", "b", "b", "c"])}, "given twice"),
        ({"class_names": np.array(["a", "b"])}, "from 0 to 3, outside 0 to 1"),
    ],
)
def test_an_error_names_the_bad_array(tmp_path, changes, message):
    save_npz(tmp_path / "train.npz", **changes)
    save_npz(tmp_path / "test.npz")
    with pytest.raises(ValueError, match=message):
        sources.load_train_and_test(str(tmp_path), Path("nowhere"))


@pytest.mark.parametrize(
    "names", [["images", "labels"], ["images.npy", "labels.npy"], ["class_names"], ["images"]]
)
def test_a_zip_of_text_is_not_an_npz(tmp_path, names):
    path = tmp_path / "train.npz"
    if names in (["class_names"], ["images"]):
        save_npz(path, **dict.fromkeys(names))
    with zipfile.ZipFile(path, "a") as archive:
        for name in names:
            archive.writestr(name, "some text")
    for read in (
        npz.load,
        lambda path: files.load_ood(path, torch.zeros(1, 3, 8, 8, dtype=torch.uint8)),
    ):
        with pytest.raises(ValueError, match=r"train\.npz cannot be read as an \.npz"):
            read(path)


@pytest.mark.parametrize("labels", [None, np.zeros(3), np.array(["a", "b"])])
def test_an_out_of_distribution_npz_may_have_any_labels_or_none(tmp_path, labels):
    save_npz(tmp_path / "out.npz", labels=labels)
    found = files.load_ood(tmp_path / "out.npz", torch.zeros(1, 3, 6, 6, dtype=torch.uint8))
    assert found.labels.tolist() == [-1] * 20


@pytest.mark.parametrize(
    "class_names",
    [np.array([["a", "b"], ["c", "d"]]), np.array([0.5, 1, 2, 3]), np.array([1j] * 4)],
)
def test_an_error_names_bad_class_names(tmp_path, class_names):
    save_npz(tmp_path / "train.npz", class_names=class_names)
    with pytest.raises(ValueError, match=r"train\.npz: class_names must be text \[C\]"):
        npz.load(tmp_path / "train.npz")


def test_an_npz_of_black_images_says_so(tmp_path):
    save_npz(tmp_path / "train.npz", images=np.ones((20, 6, 6, 3), np.uint8))
    assert (
        "no value of the images is above 1, so they are black"
        in npz.load(tmp_path / "train.npz").notes[0]
    )


def test_an_archive_of_image_files_is_no_npz_and_the_error_is_short(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.npz", "w") as archive:
        for number in range(400):
            archive.writestr(f"{number}.png", b"")
    with pytest.raises(ValueError, match="unpack them and name their folder") as error:
        npz.load(tmp_path / "images.npz")
    assert len(str(error.value)) < 300 + len(str(tmp_path))
    with pytest.raises(ValueError, match="images.zip is no .npz, no image list"):
        files.load_ood((tmp_path / "images.npz").rename(tmp_path / "images.zip"), torch.zeros(1))
