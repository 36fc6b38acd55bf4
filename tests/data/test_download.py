"""Downloads of one file from a real (local) server."""

import hashlib

import pytest

from data import download


def test_a_cut_download_goes_on_and_a_wrong_one_is_refused(tmp_path, server):
    address, content, cut = server
    body = bytes(range(256)) * 100
    content["/file"], cut["/file"] = body, 1000
    md5 = hashlib.md5(body).hexdigest()
    with pytest.raises(OSError, match="1000 of 25600|IncompleteRead"):
        download.download_file(f"{address}/file", tmp_path / "file", md5)
    assert not (tmp_path / "file").exists()
    assert (tmp_path / "file.part").stat().st_size == 1000
    download.download_file(f"{address}/file", tmp_path / "file", md5)
    assert (tmp_path / "file").read_bytes() == body
    content.clear()
    download.download_file(
        f"{address}/file", tmp_path / "file", md5
    )  # there and right: nothing is asked
    content["/file"] = b"another"
    with pytest.raises(ValueError, match="MD5"):
        download.download_file(f"{address}/file", tmp_path / "other", md5)
    assert not list(tmp_path.glob("other*"))
