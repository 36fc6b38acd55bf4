"""Data sets that torchvision reads: missing, damaged and whole files."""

import math
import os

import numpy as np
import pytest
import torch
from torchvision import datasets

import main
from data import catalog, sources
from data.catalog import CATALOG
from data.images import Images
from data.torchvision_sets import TorchvisionSet, mnist


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "fashionmnist"])
def test_the_error_for_a_missing_set_names_the_download_command(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"bash prepare-cifar.sh {name}"):
        sources.load_train_and_test(name, tmp_path)
    with pytest.raises(FileNotFoundError, match="bash prepare-cifar.sh lsun_resize"):
        sources.load_ood("lsun_resize", tmp_path, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def idx(kind, *shape):
    """A file of MNIST's format: a head of big-endian numbers, then the values."""
    head = (0x800 | len(shape)).to_bytes(4, "big") if kind is None else kind
    return head + b"".join(size.to_bytes(4, "big") for size in shape) + bytes(math.prod(shape))


@pytest.mark.parametrize("name", ["mnist", "fashionmnist"])
@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x00\x00",
        idx(b"\x00\x00\x09\x03", 4, 28, 28),
        idx(b"\x00\x00\x0f\x03", 4, 28, 28),
        # Fmt: skip.
        idx(None, 4, 28, 28)[:-1],
        idx(None, 4, 28),
        b"\xff" * 99,
    ],
)
def test_the_error_for_a_damaged_set_names_the_download_command(tmp_path, name, damaged):
    folder = tmp_path / {"mnist": "MNIST", "fashionmnist": "FashionMNIST"}[name] / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(None, 4, 28, 28))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(None, 4))
    reference = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    assert len(sources.load_ood(name, tmp_path, reference)) in (4, 8)
    (folder / "train-images-idx3-ubyte").write_bytes(damaged)
    with pytest.raises(FileNotFoundError, match=f"damaged in .*bash prepare-cifar.sh {name}"):
        CATALOG[name].load_ood.__self__.load_split("train", tmp_path)


def save_idx(folder, name, array):
    """A file in MNIST's format."""
    folder.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    (folder / name).write_bytes(head + array.tobytes())


def test_mnist_has_both_splits_and_fashion_mnist_keeps_them_apart(tmp_path):
    rng, given = np.random.default_rng(0), {}
    for name in ("MNIST", "FashionMNIST"):
        for split, count in (("train", 50), ("t10k", 30)):
            given[name, split] = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
            folder = tmp_path / name / "raw"
            save_idx(folder, f"{split}-images-idx3-ubyte", given[name, split])
            save_idx(folder, f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)
    reference = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    whole = sources.load_ood("mnist", tmp_path, reference)
    expected = np.concatenate([given["MNIST", "train"], given["MNIST", "t10k"]])
    assert whole.pixels[:, 0].numpy().tobytes() == expected.tobytes()
    assert whole.labels.tolist() == [-1] * 80
    assert catalog.title_of("mnist") == "MNIST, all 70,000"
    with pytest.raises(ValueError, match="unknown data set 'mnist'"):
        main.parse(["--data", "mnist"])
    train, test = sources.load_train_and_test("fashionmnist", tmp_path)
    assert (len(train), len(test)) == (50, 30)
    outside = sources.load_ood("fashionmnist", tmp_path, reference)
    assert outside.pixels[:, 0].numpy().tobytes() == given["FashionMNIST", "t10k"].tobytes()


@pytest.mark.parametrize("name", ["svhn", "cifar10", "cifar100", "fashionmnist", "mnist"])
def test_a_pipe_among_the_downloads_is_an_error_and_not_opened(tmp_path, name):
    pattern = CATALOG[name].load_ood.__self__.pattern
    path = tmp_path / pattern.replace("*", "test")
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(FileNotFoundError, match="is missing or damaged in"):
        sources.load_ood(name, tmp_path, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_sets_with_other_files_than_mnists_are_refused():
    with pytest.raises(ValueError, match="EMNIST does not have the files of MNIST"):
        mnist(datasets.EMNIST, "emnist", "EMNIST")


def test_splits_named_by_numbers_in_another_order_are_matched_by_name(tmp_path):
    names = {"train": tuple(sorted(map(str, range(12)))), "test": tuple(map(str, range(12)))}

    def read(root, split):
        """Image n shows class n."""
        pixels = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(12, 3, 2, 2)
        return Images(
            pixels, torch.tensor([names[split].index(str(n)) for n in range(12)]), names[split]
        )

    (tmp_path / "file").touch()
    train, test = TorchvisionSet("digits", "Digits", "file", read, print).load(tmp_path)
    assert test.classes == train.classes
    assert test.labels.equal(train.labels)
