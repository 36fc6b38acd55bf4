"""The contact sheet of predict.py."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from reporting import sheet
from reporting.rows import Row


def row(file, accepted=True, score=0.0, name="cat"):
    return Row(str(file), None, name, 0.9, "dog", 0.1, score, accepted, (), False, (8, 8))


@pytest.fixture
def red(tmp_path):
    """The row of a red image."""
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    return row(tmp_path / "red.png")


def drawn(path, rows):
    with sheet.writer(path, "a note") as add:
        for each in rows:
            add(each)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def count_red(pixels):
    return int((np.abs(pixels - [255, 0, 0]).sum(2) < 9).sum())


def test_every_image_has_the_same_chance():
    samples = sheet.Samples()
    for number in range(1000):
        samples.add(row(number))
    chosen = [int(each.file) for each in samples.rows["accepted"]]
    assert len(set(chosen)) == sheet.MOST
    tenths = Counter(number // 100 for number in chosen)
    assert len(tenths) == 10
    assert max(tenths.values()) < 15  # of 4.8 on average
    assert samples.seen == {"accepted": 1000, "refused": 0}


def test_each_image_is_drawn_once(red, tmp_path):
    one = count_red(drawn(tmp_path / "1.png", [red]))
    assert one == pytest.approx(sheet.SIDE * sheet.SIDE * 2 / 3, rel=0.05)
    assert count_red(drawn(tmp_path / "9.png", [red] * 9)) == 9 * one
    refused = row(red.file, accepted=False)
    assert count_red(drawn(tmp_path / "60.png", [red] * 60 + [refused] * 5)) == 53 * one


def test_the_highest_scores_come_first(red, tmp_path):
    Image.new("RGB", (30, 20), "blue").save(tmp_path / "blue.png")
    pixels = drawn(tmp_path / "out.png", [row(red.file, score=-1.0), row(tmp_path / "blue.png")])
    columns = np.flatnonzero((np.abs(pixels - [0, 0, 255]).sum(2) < 9).any(0))
    assert columns.max() < np.flatnonzero((np.abs(pixels - [255, 0, 0]).sum(2) < 9).any(0)).min()


def test_a_long_name_stays_in_its_place_and_odd_ones_are_drawn(red, tmp_path):
    short = drawn(tmp_path / "short.png", [red])
    for name in ("x" * 500, "e\u0301\n\x1b[2J", "猫" * 50, "\udcff"):
        pixels = drawn(tmp_path / "long.png", [row(red.file, name=name)])
        changed = np.flatnonzero((pixels != short).any((0, 2)))
        assert changed.max() < sheet.GAP + sheet.TILE


def test_files_that_failed_or_are_gone_do_not_stop_it(red, tmp_path):
    rows = [Row("bad.png", error="is empty"), row(tmp_path / "gone.png"), red]
    one = count_red(drawn(tmp_path / "1.png", [red]))
    assert count_red(drawn(tmp_path / "out.png", rows)) == one
    assert count_red(drawn(tmp_path / "none.png", rows[:1])) == 0
