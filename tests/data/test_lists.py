"""Image lists."""

import codecs
import os

import numpy as np
import pytest
import torch
from PIL import Image

from data import files, images, sources
from data.decoding import decode
from data.streaming import ImageFiles
from experiment import records
from tests.image_files import save_lists, save_npz

# Paths of images in a data directory: spaces, no UTF-8, upper case.
PATHS = (b"plain.png", b"a folder/two  words.png", b"caf\xe9.bmp", b"deep/er/1.PNG")


@pytest.fixture
def root(tmp_path):
    """A data directory with the images at `PATHS`, 8×8."""
    rng, root = np.random.default_rng(0), tmp_path / "root"
    for name in PATHS:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    return root


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("begin", [b"", codecs.BOM_UTF8])
def test_a_list_names_out_of_distribution_images(root, tmp_path, end, begin):
    photograph = tmp_path / "elsewhere 7.jpg"
    Image.effect_noise((13, 21), 50).save(photograph)
    names = [*PATHS, os.fsencode(photograph), PATHS[0]]  # an absolute path, and one again
    labels = [b"-1", b"0", b"123456789123456789123456789", b"+3", b"-7", b"-1"]
    spaces = (b" ", b"\t", b"   ") * 2
    lines = [b"".join(parts) for parts in zip(names, spaces, labels, strict=True)]
    lines[2:2] = [b"", b" \t"]
    (tmp_path / "near.txt").write_bytes(begin + end.join(lines) + end)
    reference = torch.randint(256, (9, 3, 8, 8), dtype=torch.uint8)
    found = sources.load_ood(str(tmp_path / "near.txt"), root, reference)
    expected = [
        images.resize_and_center_crop(decode(root / os.fsdecode(name)), (8, 8)) for name in names
    ]
    assert found.pixels.equal(torch.stack(expected))
    assert (found.labels.tolist(), found.classes) == ([-1] * 6, ())


def test_a_list_of_large_images_is_streamed(root, tmp_path, monkeypatch):
    (tmp_path / "far.txt").write_bytes(b"".join(name + b" -1\n" for name in PATHS))
    grey = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    in_memory = sources.load_ood(str(tmp_path / "far.txt"), root, grey)
    assert images.is_grey(in_memory.pixels)
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    streamed = sources.load_ood(str(tmp_path / "far.txt"), root, grey)
    assert isinstance(streamed, ImageFiles)
    assert streamed.first(4).equal(in_memory.pixels)


GONE = "the image {root}/gone.png is missing (paths are relative to --data-dir {root}): correct"


BAD_LISTS = [
    (b"plain.png 1\nplain.png\n", ", line 2: 'plain.png' is not `PATH LABEL`: write both"),
    (b" 5\n", ", line 1: '5' is not `PATH LABEL`: write both"),
    (b"\n\nplain.png one\n", ", line 3: the label 'one' is not an integer: write a whole number"),
    (b"plain.png 1.0\n", ", line 1: the label '1.0' is not an integer: write"),
    (b"caf\xe9 menu.png\n", ", line 1: the label 'menu.png' is not an integer: write"),
    (b"plain.png " + b"9" * 5000, f", line 1: the label '{'9' * 80}...' is not an integer: write"),
    (b"y" * 5000, f", line 1: '{'y' * 80}...' is not `PATH LABEL`: write both"),
    (b"plain.heic 1\n", ", line 1: 'plain.heic' is no image file (.bmp, .gif, "),
    (b"gone.png 1\n", f", line 1: {GONE}"),
    (b"plain.png 1\ndeep 1.png 1\n", ", line 2: the image {root}/deep 1.png is missing"),
    (b"folder.png 1\n", ", line 1: the image {root}/folder.png is missing"),
    (b"x" * 5000 + b".png 1\n", ", line 1: the image {root}/xxx"),
    (b"", " lists no images: write a line `PATH LABEL` for each image"),
    (b"\n \r\n", " lists no images: write a line `PATH LABEL` for each image"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", " is no text file: write a line `PATH LABEL`"),
]


@pytest.mark.parametrize(("content", "message"), BAD_LISTS)
def test_a_bad_list_ends_in_an_error_of_one_line(root, tmp_path, run_main, content, message):
    (root / "folder.png").mkdir()
    path = tmp_path / "near.txt"
    path.write_bytes(content)
    status, _, err = run_main("--ood", f"near={path}", "--data-dir", str(root))
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {path}{message.replace('{root}', str(root))}")
    assert not (tmp_path / "runs").exists()
    split = tmp_path / "mine"
    split.mkdir()
    (split / "train.txt").write_bytes(content)
    (split / "test.txt").touch()
    with pytest.raises((ValueError, FileNotFoundError)) as found:
        sources.load_train_and_test(str(split), root)
    assert str(found.value).startswith(f"{split}/train.txt{message.replace('{root}', str(root))}")


def test_a_folder_or_a_missing_file_that_is_named_as_a_list(root, tmp_path, run_main):
    (tmp_path / "set.txt").mkdir()
    (tmp_path / "set.txt" / "1.png").write_bytes((root / "plain.png").read_bytes())
    reference = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    found = sources.load_ood(str(tmp_path / "set.txt"), root, reference)
    assert found.pixels.equal(decode(root / "plain.png")[None])  # as any folder of images
    status, _, err = run_main("--ood", "near=gone.txt")
    assert (status, err.count("\n")) == (2, 1)
    assert "unknown out-of-distribution set 'gone.txt'" in err
    assert "or give an .npz, an image list (.txt) or a folder of images" in err


def test_lists_serve_as_train_and_test_as_folders_and_npz_do(tmp_path, monkeypatch):
    arrays = save_npz(tmp_path / "arrays.npz")
    mine, root = tmp_path / "mine", tmp_path / "root"
    mine.mkdir()
    lines = save_lists(root / "pool", arrays)
    (mine / "train.txt").write_text(lines)
    (mine / "test.txt").write_text(lines.replace(" 0\n", " 1\n"))
    (mine / "train").mkdir()  # a list counts before a folder, which may be where its images lie
    train, test = sources.load_train_and_test(str(mine), root)
    assert train.pixels.numpy().transpose(0, 2, 3, 1).tobytes() == arrays["images"].tobytes()
    assert train.labels.tolist() == arrays["labels"].tolist()
    assert test.labels.tolist() == [max(1, label) for label in arrays["labels"]]
    assert train.classes == test.classes == ("0", "1", "2", "3")

    monkeypatch.setattr(files, "IN_MEMORY", 0)
    streamed, _ = sources.load_train_and_test(str(mine), root)
    assert isinstance(streamed, ImageFiles)
    assert streamed.first(20).equal(train.pixels)
    monkeypatch.undo()

    (mine / "test.txt").rename(mine / "test")  # no list any more
    with pytest.raises(ValueError, match=r"no test\.npz, no test\.txt and no folder test"):
        sources.load_train_and_test(str(mine), root)
    save_npz(mine / "train.npz", class_names=np.array(["a", "b", "c", "d"]))  # counts before a list
    (mine / "test").rename(mine / "test.txt")
    assert sources.load_train_and_test(str(mine), root)[1].classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("split", "old", "new", "message"),
    [
        ("train", "3.png 3", "3.png -1", r"train\.txt, line 4: the label -1 is no class: .* --ood"),
        ("test", "3.png 3", "3.png -1", r"test\.txt, line 4: the label -1 is no class"),
        ("test", "3.png 3", f"3.png {2**63}", r"test\.txt, line 4: the label 92.* is no class"),
        ("test", "3.png 3", "3.png 4", "test: labels run from 0 to 4, outside 0 to 3"),
        ("train", " 1\n", " 7\n", "without a gap, got 0, 2, 3, 7: renumber them"),
        ("train", "003.png", "larger.png", r"train\.txt holds .* several sizes .*larger\.png 9×7"),
    ],
)
def test_a_list_to_train_or_test_on_has_classes_and_one_size(tmp_path, split, old, new, message):
    lines = save_lists(tmp_path / "pool", save_npz(tmp_path / "arrays.npz"))
    Image.new("RGB", (7, 9)).save(tmp_path / "pool" / "larger.png")
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text(lines.replace(old, new) if name == split else lines)
    with pytest.raises(ValueError, match=message):
        sources.load_train_and_test(str(tmp_path), tmp_path)


def test_a_run_of_lists(tmp_path, run_main, monkeypatch):
    mine, root = tmp_path / "mine", tmp_path / "root"
    mine.mkdir()
    lines = save_lists(root / "pool", save_npz(tmp_path / "arrays.npz", count=80, size=8))
    for split in ("train", "test"):
        (mine / f"{split}.txt").write_text(lines)
    Image.new("RGB", (30, 17), "red").save(root / "red one.png")
    (tmp_path / "other.txt").write_bytes(b"red one.png -1\r\npool/000.png -1\r\n")
    monkeypatch.chdir(tmp_path)
    given = ("--data", "mine", "--model", "smallcnn", "--epochs", "1", "--data-dir", str(root))
    assert run_main(*given, "--ood", "near=other.txt")[::2] == (0, "")
    folder = tmp_path / "runs" / "mine" / "smallcnn" / "dismax" / "1"
    record = records.read_record(folder / records.METRICS)
    assert record["config"]["ood"] == [f"near={tmp_path}/other.txt"]
    (found,) = record["detection"].values()
    assert (found["title"], found["role"], found["n"]) == ("other", "near", 2)
    monkeypatch.chdir(root)
    status, out, _ = run_main(*given[:1], str(mine), *given[2:], "--ood", "near=../other.txt")
    assert (status, out.count("is finished: skipped")) == (0, 1)


def test_openoods_lists_are_read_as_they_are(tmp_path, run_main, monkeypatch):
    """Its lists have other names than ours, and its paths begin with the set's folder."""
    pools, lists = tmp_path / "images_classic", tmp_path / "benchmark_imglist" / "cifar10"
    lists.mkdir(parents=True)
    arrays = save_npz(tmp_path / "arrays.npz", count=80, size=8)
    for split in ("train", "test"):
        lines = save_lists(pools / "cifar10" / split, arrays)
        (lists / f"{split}_cifar10.txt").write_text(lines.replace(split, f"cifar10/{split}"))
    for name in ("cifar100", "tin", "mnist", "svhn"):
        save_lists(pools / name / "a test", save_npz(tmp_path / "x.npz", 30, 8))
        lines = [f"{name}/a test/{number:03}.png -1\n" for number in range(30)]
        (lists / f"test_{name}.txt").write_text("".join(lines))
    mine = tmp_path / "cifar10"
    mine.mkdir()
    for split in ("train", "test"):
        (mine / f"{split}.txt").symlink_to(lists / f"{split}_cifar10.txt")
    monkeypatch.chdir(tmp_path)
    ood = [f"near=benchmark_imglist/cifar10/test_{name}.txt" for name in ("cifar100", "tin")]
    ood += [f"far=benchmark_imglist/cifar10/test_{name}.txt" for name in ("mnist", "svhn")]
    given = ("--data", str(mine), "--model", "smallcnn", "--epochs", "1", "--loss", "softmax")
    assert run_main(*given, "--data-dir", "images_classic", "--ood", *ood)[::2] == (0, "")
    record = records.read_record(next(tmp_path.rglob(records.METRICS)))
    found = [(entry["role"], entry["title"], entry["n"]) for entry in record["detection"].values()]
    roles = ("near", "near", "far", "far")
    titles = ("test_cifar100", "test_tin", "test_mnist", "test_svhn")
    assert found == [(role, title, 30) for role, title in zip(roles, titles, strict=True)]
