"""Archives of images: downloaded, checked and unpacked."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from data import files
from data.archives import Archive
from data.folders import search


def test_of_a_zip_only_the_sets_own_folder_is_unpacked(tmp_path, server):
    address, content, _ = server
    image, zipped = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    with zipfile.ZipFile(zipped, "w") as archive:
        for name in (
            "some/train/0.png",
            "some/val/images/0.png",
            "some/val/images/1.png",
            "../escaped.png",
        ):
            archive.writestr(name, image.getvalue())
    content["/zip"] = zipped.getvalue()
    entry = Archive(
        "some",
        "Some",
        f"{address}/zip",
        hashlib.md5(content["/zip"]).hexdigest(),
        "some/val/images",
        2,
        ".zip",
    )
    entry.download(tmp_path / "root")
    assert len(search(tmp_path / "root" / "some" / "val" / "images").images) == 2
    assert len([*tmp_path.rglob("*.png")]) == 2
    cut = content["/zip"][:-30]
    content["/zip"] = cut
    entry = Archive(
        "some", "Cut", f"{address}/zip", hashlib.md5(cut).hexdigest(), "cut/val", 2, ".zip"
    )
    with pytest.raises(ValueError, match="cannot be unpacked"):
        entry.download(tmp_path / "root")


def make_tar(members: dict[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
        if link:
            member = tarfile.TarInfo("link")
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
    return buffer.getvalue()


def test_archives_are_unpacked_whole_and_never_outside(tmp_path, server):
    address, content, _ = server
    image = io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    members = {f"Some/{index}.png": image.getvalue() for index in range(3)}
    content["/good"] = make_tar(members)
    archive = Archive(
        "some", "Some", f"{address}/good", hashlib.md5(content["/good"]).hexdigest(), "Some", 3
    )
    archive.download(tmp_path)
    assert len(files.load_ood(tmp_path / "Some", torch.zeros(1, 3, 4, 4, dtype=torch.uint8))) == 3
    content.clear()
    archive.download(tmp_path)  # complete: nothing is asked
    content["/cut"] = make_tar(members)[:-20]
    cut = Archive(
        "some", "Cut", f"{address}/cut", hashlib.md5(content["/cut"]).hexdigest(), "Cut", 3
    )
    (tmp_path / "Cut").mkdir()  # an empty folder is not taken for the images
    with pytest.raises(ValueError, match="cannot be unpacked"):
        cut.download(tmp_path)
    for bad in (
        make_tar({"../escaped.png": b"x"}),
        make_tar({"/tmp/escaped.png": b"x", **members}),
        make_tar(members, "/etc/passwd"),
    ):
        content["/bad"] = bad
        evil = Archive("some", "Evil", f"{address}/bad", hashlib.md5(bad).hexdigest(), "Evil", 3)
        root = tmp_path / "root"
        with pytest.raises(ValueError, match="cannot be unpacked safely"):
            evil.download(root)
        assert not (tmp_path / "escaped.png").exists()
        assert not Path("/tmp/escaped.png").exists()
        assert not any(path.is_symlink() for path in root.rglob("*"))
        (root / "Evil.tar.gz").unlink()


@pytest.mark.parametrize(
    ("folder", "suffix", "message"),
    [("some", ".tar.gz", "is a zip: its row needs suffix"), ("other", ".zip", "it has some")],
)
def test_a_wrong_row_for_a_zip_says_what_is_wrong(tmp_path, server, folder, suffix, message):
    address, content, _ = server
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("some/0.png", b"")
    content["/zip"] = zipped.getvalue()
    md5 = hashlib.md5(content["/zip"]).hexdigest()
    row = Archive("some", "Some", f"{address}/zip", md5, folder, 1, suffix)
    with pytest.raises(ValueError, match=message):
        row.download(tmp_path)


def test_a_folder_that_is_a_dead_link_is_an_error_before_the_download(tmp_path):
    (tmp_path / "some").symlink_to("nowhere")
    entry = Archive("some", "Some", "http://127.0.0.1:9/no-server", "", "some", 2)
    with pytest.raises(ValueError, match="some is a link that leads nowhere: remove it"):
        entry.download(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["some"]
