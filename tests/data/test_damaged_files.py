"""Image files and downloads that are damaged or cut at any byte."""

import hashlib
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data import download, files
from data import npz as npz_files
from tests.damage import damaged, npz, read_or_refused

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)


@given(position=st.floats(0, 1), change=st.integers(0, 255))
@settings(max_examples=400, deadline=None)
def test_a_damaged_npz_is_an_error_or_still_the_same(position, change):
    content = npz(images=IMAGES, labels=np.arange(6))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.npz"
        path.write_bytes(damaged(content, position, change))
        images = read_or_refused(npz_files.load, path)
        if images:
            assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), IMAGES)
            assert images.labels.tolist() == list(range(6))


@given(position=st.floats(0, 1), change=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_image_is_an_error_or_still_an_image(position, change):
    buffer = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(buffer, "PNG")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").mkdir()
        (Path(folder) / "a" / "some.png").write_bytes(damaged(buffer.getvalue(), position, change))
        images = read_or_refused(files.load_split, Path(folder))
        if images:
            assert images.first(1).dtype == torch.uint8


@given(cuts=st.lists(st.integers(0, 4999), min_size=1, max_size=3))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_download_that_is_cut_at_any_byte_continues_there(server, cuts):
    address, content, cut = server
    body = np.random.default_rng(1).bytes(5000)
    md5 = hashlib.md5(body).hexdigest()
    content["/file"] = body
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        partial = Path(folder) / "file.part"
        for length in cuts:
            size = partial.stat().st_size if partial.exists() else 0
            if partial.exists() and size + length >= len(body):
                break
            cut["/file"] = size + length
            with pytest.raises((OSError, ValueError)):
                download.download_file(f"{address}/file", path, md5)
            assert not path.exists()
        cut.clear()
        download.download_file(f"{address}/file", path, md5)
        assert path.read_bytes() == body
        assert [file.name for file in Path(folder).iterdir()] == ["file"]
