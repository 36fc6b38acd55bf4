"""A user's own images: class folders and .npz files as training, test and OOD sets."""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import files, folders, npz, sources
from tests.image_files import save_folders, save_npz


def test_a_folder_of_grey_images_beside_grey_ones_stays_as_it_is(tmp_path):
    values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    Image.fromarray(values[0].numpy()).save(tmp_path / "1.png")
    assert sources.load_ood(str(tmp_path), tmp_path, values[None]).first(1).equal(values[None])


def test_npz_and_folders_load_the_same_images(tmp_path):
    arrays = save_npz(
        tmp_path / "train.npz", class_names=np.array([f"class{label}" for label in range(4)])
    )
    save_folders(tmp_path / "test", arrays)
    train, test = sources.load_train_and_test(str(tmp_path), Path("nowhere"))
    assert train.pixels.numpy().transpose(0, 2, 3, 1).tobytes() == arrays["images"].tobytes()
    order = sorted(range(20), key=lambda index: (index % 4, index))
    assert test.pixels.equal(train.pixels[order])
    assert test.labels.equal(train.labels[order])
    out = sources.load_ood(
        str(tmp_path / "test"),
        Path("nowhere"),
        torch.randint(256, (1, 3, 10, 8), dtype=torch.uint8),
    )
    assert out.pixels.shape == (20, 3, 10, 8)
    save_npz(tmp_path / "train.npz")  # numbers cannot be matched with the folders' names
    with pytest.raises(ValueError, match="different classes"):
        sources.load_train_and_test(str(tmp_path), Path("nowhere"))
    save_npz(tmp_path / "test.npz")
    assert sources.load_train_and_test(str(tmp_path), Path("nowhere"))[1].classes == (
        "0",
        "1",
        "2",
        "3",
    )
    Image.new("RGB", (6, 6)).save(tmp_path / "test" / "stray.png")
    (tmp_path / "test.npz").unlink()
    with pytest.raises(ValueError, match="in no class folder"):
        sources.load_train_and_test(str(tmp_path), Path("nowhere"))


def test_an_error_names_the_damaged_file(tmp_path):
    whole = tmp_path / "whole.npz"
    save_npz(whole)
    for length in (0, 10, 500, whole.stat().st_size - 30):
        (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:length])
        with pytest.raises(ValueError, match=r"cut\.npz cannot be read"):
            npz.load(tmp_path / "cut.npz")
    save_folders(
        tmp_path / "folder", {"images": np.zeros((4, 6, 6, 3), np.uint8), "labels": np.arange(4)}
    )
    (tmp_path / "folder" / "class1" / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        files.load_split(tmp_path / "folder")
    Image.new("RGB", (9, 5)).save(tmp_path / "folder" / "class1" / "broken.png")
    np.save(tmp_path / "array", np.zeros(3))
    with pytest.raises(ValueError, match=r"array\.npy cannot be read as an \.npz"):
        npz.load(tmp_path / "array.npy")
    with pytest.raises(ValueError, match="several sizes"):
        files.load_split(tmp_path / "folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image files"):
        files.load_split(tmp_path / "empty")
    with pytest.raises(ValueError, match="no train"):
        sources.load_train_and_test(str(tmp_path / "empty"), Path("nowhere"))


def test_folders_that_are_links_are_followed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / name / "1.png")
    (tmp_path / "data" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "a" / "1.png")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere" / "b")
    assert files.load_split(tmp_path / "data").classes == ("a", "b")


@pytest.mark.parametrize("name", ["fifo.txt", "fifo.npz"])
def test_a_pipe_is_not_an_out_of_distribution_set(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is neither a file nor a folder"):
        files.load_ood(tmp_path / name, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("model", "size"),
    [("densenetbc22", 1), ("densenetbc22", 2), ("densenetbc22", 3), ("smallcnn", 1)],
)
def test_images_too_small_for_a_network_end_in_an_error_of_one_line(
    tmp_path, run_main, model, size
):
    for split in ("train", "test"):
        save_npz(tmp_path / f"{split}.npz", size=size)
    given = (
        "--data",
        str(tmp_path),
        "--model",
        model,
        "--loss",
        "softmax",
        "--epochs",
        "1",
        "--ood",
        "noise",
    )
    status, _, err = run_main(*given, "--protocol", "paper")
    if model == "smallcnn":  # which takes any
        assert (status, err) == (0, "")
        return
    assert (status, err.count("\n")) == (2, 1)
    assert f"--model {model} cannot take images of {size}×{size} pixels (" in err
    assert "take larger ones, the size that it was made for, or another network" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_link_to_a_folder_of_its_class_counts_in_the_same_way_in_every_order(
    tmp_path, monkeypatch, backwards
):
    """The order in which a system lists a folder is that of its making, or none at all."""
    listed = os.scandir

    @contextmanager
    def scandir(folder):
        with listed(folder) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=backwards)

    save_folders(tmp_path / "mine", save_npz(tmp_path / "all.npz"))
    for name in ("a", "z"):
        (tmp_path / "mine" / "class1" / name).symlink_to("real")
    (tmp_path / "mine" / "class1" / "real").mkdir()
    (tmp_path / "mine" / "class1" / "001.png").rename(tmp_path / "mine/class1/real/001.png")
    monkeypatch.setattr(folders.os, "scandir", scandir)
    paths = [path for path, _ in folders.search(tmp_path / "mine", by_class=True).images]
    assert str(tmp_path / "mine" / "class1" / "real" / "001.png") in paths
    assert len(paths) == 20
