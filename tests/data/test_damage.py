"""Damage in image files that Pillow does not report."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageFile

from data.decoding import decode
from tests.image_files import photograph, png, saved, written


def encoded(kind, **options):
    buffer = io.BytesIO()
    photograph(90, 70).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", ["png", "jpeg", "progressive", "webp", "bmp", "gif", "ppm", "tiff"]
)
def test_a_cut_image_is_no_image(tmp_path, monkeypatch, kind):
    whole = encoded("jpeg", progressive=True) if kind == "progressive" else encoded(kind)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as other packages do
    path = written(tmp_path / "1.png", whole)
    original, noticed = decode(path), 0
    for cut in np.linspace(20, len(whole) - 1, 25).astype(int):
        ends = [whole[:cut]]
        # Those that say where they end, and a PNG its checksums.
        if kind in ("jpeg", "progressive", "png"):
            ends.append(whole[:cut] + bytes(len(whole) - cut))
        for content in ends:
            path.write_bytes(content)
            try:
                found = decode(path)
            except ValueError:
                noticed += 1
            else:
                assert found.equal(original), cut
    assert noticed > 20


ROWS = np.random.default_rng(0).integers(1, 256, (24, 121)).astype(np.uint8)
ROWS[:, 0] = 0  # no filter


@pytest.mark.parametrize("rows", [0, 1, 12, 23])
def test_a_png_with_fewer_rows_than_it_says_is_refused_and_a_black_one_is_not(tmp_path, rows):
    path = written(tmp_path / "1.png", png(ROWS[:rows].tobytes()))
    with pytest.raises(ValueError, match="cannot be read as an image"):
        decode(path)
    path.write_bytes(png(np.concatenate([ROWS[:rows], 0 * ROWS[rows:]]).tobytes()))
    assert decode(path)[:, rows:].eq(0).all()


def test_a_jpeg_of_one_colour_and_one_with_a_film_behind_its_end_are_whole(tmp_path):
    path = tmp_path / "1.jpg"
    for colour in ("black", "white", "red"):
        assert decode(saved(path, Image.new("RGB", (90, 70), colour))).shape == (3, 70, 90)
    path.write_bytes(encoded("jpeg") + os.urandom(5000))  # cameras put films there
    assert decode(path).shape == (3, 70, 90)
