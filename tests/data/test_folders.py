"""Folders of images as users have them: what counts, and what is said of what does not."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from PIL import Image

import predict
from data import files, sources
from data.decoding import decode
from data.folders import search

REFERENCE = torch.randint(
    256, (1, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def image(path, colour="red", size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, "png")
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images."""
    for name in ("a/1", "a/2", "b/3", "b/4"):
        image(tmp_path / "set" / f"{name}.png")
    return tmp_path / "set"


def counts(place):
    """How many images every reader of folders sees below a place, and what is said of the rest."""
    found, cropped = files.load_split(place), files.load_cropped(place, (8, 8), 0)
    assert (found.classes, found.labels.tolist(), found.notes) == (
        cropped.classes,
        cropped.labels.tolist(),
        cropped.notes,
    )
    outside, (paths, notes) = files.load_ood(place, REFERENCE), predict.find_images([place])
    assert len(found) == len(outside) == len(paths)
    assert found.notes == outside.notes == tuple(notes)
    return found, " ".join(notes)


SYSTEMS = [
    ".ipynb_checkpoints",
    "@eaDir",
    "#recycle",
    "#snapshot",
    "__MACOSX",
    "$RECYCLE.BIN",
    ".thumbnails",
    "@Recycle",
]


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("below", ["", "a"])
def test_a_folder_of_the_system_is_no_class_and_holds_no_images(folder, name, below):
    image(folder / below / name / "1-checkpoint.png")
    image(folder / below / name / "deeper" / "2.png")
    found, notes = counts(folder)
    assert (found.classes, len(found)) == (("a", "b"), 4)
    assert "left out 2 images in hidden or system folders" in notes


@pytest.mark.parametrize(
    "name", ["Thumbs.db", ".DS_Store", "desktop.ini", "._1.png", ".hidden.jpg"]
)
@pytest.mark.parametrize("below", ["", "a"])
def test_a_file_of_the_system_is_no_image_and_no_class(folder, name, below):
    (folder / below / name).write_bytes(b"something")
    found, notes = counts(folder)
    assert (found.classes, len(found)) == (("a", "b"), 4)
    assert ("1 hidden images" in notes) == name.endswith(("png", "jpg"))


def test_what_is_left_out_is_counted_and_said(folder):
    for name in ("a/notes.txt", "b/1.XML", "b/2.xml", "README"):
        (folder / name).write_text("text")
    _, notes = counts(folder)
    assert notes == f"{folder}: left out 1 .txt files, 2 .xml files, 1 other files"


@pytest.mark.parametrize("suffix", [".heic", ".AVIF", ".jxl", ".dng", ".svg", ".tga"])
@pytest.mark.parametrize("alone", [True, False])
def test_images_in_a_format_that_is_not_read_are_an_error(folder, suffix, alone):
    (folder / "b" / f"5{suffix}").write_bytes(b"something")
    if alone:
        for name in ("3.png", "4.png"):
            (folder / "b" / name).unlink()
    for read in (
        files.load_split,
        lambda place: files.load_ood(place, REFERENCE),
    ):
        with pytest.raises(
            ValueError, match=rf"not read \(1 {suffix.lower()}\): convert them to PNG or JPEG"
        ):
            read(folder)


@pytest.mark.parametrize("suffix", [".gif", ".jfif", ".JPE", ".pgm", ".JPG"])
def test_a_class_whose_files_have_another_usual_name_is_there(folder, suffix):
    for name in ("3", "4"):
        (folder / "b" / f"{name}.png").unlink()
        kind = {".gif": "gif", ".pgm": "ppm"}.get(suffix, "jpeg")
        Image.new("L", (8, 8)).save(folder / "b" / f"{name}{suffix}", kind)
    found, _ = counts(folder)
    assert (found.classes, found.labels.tolist()) == (("a", "b"), [0, 0, 1, 1])


def test_an_empty_class_and_images_beside_the_classes_are_an_error(folder):
    (folder / "c").mkdir()
    (folder / "c" / "list.txt").write_text("text")
    for read in (files.load_split, lambda place: files.load_cropped(place, (8, 8), 0)):
        with pytest.raises(
            ValueError, match=r"class folders without images \(c\): put images there, or remove"
        ):
            read(folder)
    image(folder / "5.png")
    with pytest.raises(ValueError, match="lie in no class folder"):
        files.load_cropped(folder, (8, 8), 0)
    assert len(files.load_ood(folder, REFERENCE)) == 5  # whose folders are no classes


def test_linked_folders_are_followed_once(folder, tmp_path):
    image(tmp_path / "elsewhere" / "deep" / "5.png")
    (folder / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "a" / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (folder / "b" / "back").symlink_to(folder)
    (folder / "b" / "above").symlink_to(tmp_path)
    found, notes = counts(folder)
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert "left out 3 links to folders that are there already" in notes


def test_one_folder_in_two_classes_is_an_error_and_no_endless_walk(folder):
    (folder / "a" / "to_b").symlink_to(folder / "b")
    (folder / "b" / "to_a").symlink_to(folder / "a")
    with pytest.raises(ValueError, match="belongs to two classes, (a, b|b, a): remove a link"):
        files.load_split(folder)
    assert len(files.load_ood(folder, REFERENCE)) == 4


@pytest.mark.parametrize("kind", ["pipe", "broken link"])
def test_an_image_that_is_no_file_is_an_error_before_anything_is_read(folder, kind):
    path = folder / "b" / "5.png"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("nothing")
    message = "a pipe, a socket or a device" if kind == "pipe" else "a link that leads nowhere"
    for read in (
        files.load_split,
        lambda place: files.load_cropped(place, (8, 8), 0),
    ):
        with pytest.raises(ValueError, match=f"5.png is {message}"):
            read(folder)


@pytest.mark.parametrize("name", ["loop", "b/loop", "5.png", "b/5.png", "b/5.txt"])
def test_a_link_to_itself_in_a_folder_is_an_error_that_names_it(folder, name):
    (folder / name).symlink_to((folder / name).name)
    for read in (
        files.load_split,
        lambda place: files.load_cropped(place, (8, 8), 0),
        lambda place: files.load_ood(place, REFERENCE),
    ):
        with pytest.raises(ValueError, match=f"^{folder / name} is a link that leads nowhere"):
            read(folder)


def test_a_search_that_is_not_strict_finds_what_is_named_like_an_image(folder):
    named = [folder / name for name in ("5.heic", "b/dead.png", "b/loop.jpg", "b/pipe.png")]
    named[0].write_bytes(b"something")
    named[1].symlink_to("nowhere")
    named[2].symlink_to(named[2].name)
    os.mkfifo(named[3])
    (folder / "loop").symlink_to("loop")  # has no image's name
    found = search(folder, strict=False)
    assert set(named) < {Path(path) for path, _ in found.images}
    assert len(found.images) == 4 + len(named)
    assert found.notes == (f"{folder}: left out 1 other files",)


def test_a_hidden_link_to_itself_is_left_out(folder):
    for name in (".loop", "b/.loop.png"):
        (folder / name).symlink_to((folder / name).name)
    found, notes = counts(folder)
    assert len(found) == 4
    assert notes == f"{folder}: left out 1 hidden images"


def test_a_broken_link_beside_class_folders_is_an_error(folder):
    (folder / "c").symlink_to("nowhere")
    with pytest.raises(ValueError, match="c is a link that leads nowhere"):
        files.load_split(folder)
    assert files.load_ood(folder, REFERENCE).notes == (f"{folder}: left out 1 other files",)


@pytest.mark.parametrize("target", ["link", "nowhere"])
def test_a_folder_that_is_a_dead_link_is_an_error_that_names_it(tmp_path, target):
    link = tmp_path / "link"
    link.symlink_to(target)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train").symlink_to("train")
    for read in (
        lambda: sources.load_train_and_test(str(link), tmp_path),
        lambda: sources.load_ood(str(link), tmp_path, REFERENCE),
    ):
        with pytest.raises(ValueError, match=f"^{link} is a link that leads nowhere: remove it"):
            read()
    with pytest.raises(ValueError, match="mine/train is a link that leads nowhere"):
        sources.load_train_and_test(str(tmp_path / "mine"), tmp_path)


def test_a_folder_that_may_not_be_read_is_an_error():
    # Which others may enter, unlike pytest's own.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "set"
        for path in ("a/1.png", "b/deep/2.png"):
            image(folder / path)
        os.chmod(folder / "b" / "deep", 0)
        os.chmod(folder / "a" / "1.png", 0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            for read in (files.load_split, lambda place: files.load_ood(place, REFERENCE), search):
                with pytest.raises(PermissionError, match="b/deep"):
                    read(folder)
            with pytest.raises(ValueError, match=r"1\.png may not be read: change its permissions"):
                decode(folder / "a" / "1.png")
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder / "b" / "deep", 0o755)


def test_the_order_is_that_of_folders_and_names(tmp_path):
    names = ["a-b/1.png", "a/2.png", "a/10.png", "a/b/0.png", "a.b/3.png"]
    for name in names:
        image(tmp_path / name)
    found = [Path(path) for path, _ in search(tmp_path).images]
    assert found == sorted(tmp_path / name for name in names)


def test_names_in_any_encoding_are_read_and_can_be_printed(folder):
    (folder / "b").rename(folder / os.fsdecode(b"caf\xe9"))
    image(folder / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xff.png"))
    found, _ = counts(folder)
    assert found.classes == ("a", r"caf\xe9")
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    (folder / os.fsdecode(b"caf\xe9") / "1.txt").write_text("")
    assert counts(folder)[1].isprintable()


def test_a_run_says_what_it_leaves_out_and_so_does_predict(folder, run_main, tmp_path, capsys):
    for split in ("train", "test"):
        for name in ("a", "b"):
            for number in range(8):
                image(
                    tmp_path / "mine" / split / name / f"{number}.png",
                    (number, 200 if split == "train" else 100, 30 if name == "a" else 220),
                )
    (tmp_path / "mine" / "train" / "a" / "about.txt").write_text("text")
    (folder / "about.md").write_text("text")
    given = (
        "--model",
        "smallcnn",
        "--loss",
        "softmax",
        "--epochs",
        "1",
        "--protocol",
        "paper",
        "--ood",
        str(folder),
    )
    status, out, _ = run_main("--data", str(tmp_path / "mine"), *given)
    assert status == 0
    assert (
        f"warning: {tmp_path}/mine/train: left out 1 .txt files\nwarning: {folder}: left out 1 "
        ".md files\n" in out
    )
    run = tmp_path / "runs" / "mine" / "smallcnn" / "softmax" / "1"
    assert predict.main([str(run), str(folder), "--device", "cpu"]) == 0
    assert f"warning: {folder}: left out 1 .md files" in capsys.readouterr().err


def test_a_list_may_end_in_capitals(folder, tmp_path):
    for name in ("train.TXT", "Test.txt"):
        (tmp_path / name).write_text("set/a/1.png 0\nset/b/3.png 1\n")
    train, test = sources.load_train_and_test(str(tmp_path), tmp_path)
    assert len(train) == len(test) == 2
    assert len(sources.load_ood(str(tmp_path / "train.TXT"), tmp_path, REFERENCE)) == 2
    assert sources.title_of(str(tmp_path / "near.TXT")) == "near"
