"""The rows that predict.py writes, as CSV and as JSON."""

import csv
import json

import pytest

from reporting.rows import Row, writer

GOOD = Row("a.png", None, "cat", 0.75, "dog", 0.25, -0.5, True, (0.75, 0.25))
FAILED = Row("b.png", error="is empty: fetch it again")


def written(path, rows, names=()):
    with writer(path, names) as write:
        for row in rows:
            write(row)
    if path.suffix == ".json":
        return json.loads(path.read_text())
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_json_file_is_an_array_whatever_the_number_of_rows(tmp_path):
    for rows in ([], [GOOD], [GOOD, FAILED, GOOD]):
        found = written(tmp_path / "found.json", rows)
        assert [row["file"] for row in found] == [row.file for row in rows]


def test_a_file_that_could_not_be_read_has_a_reason_and_nothing_else(tmp_path):
    names = ("cat", "dog")
    _, failed = written(tmp_path / "found.json", [GOOD, FAILED], names)
    assert {key for key, value in failed.items() if value is not None} == {"file", "error"}
    _, failed = written(tmp_path / "found.csv", [GOOD, FAILED], names)
    assert {key for key, value in failed.items() if value} == {"file", "error"}


def test_the_second_class_and_all_probabilities_are_written(tmp_path):
    (row,) = written(tmp_path / "found.json", [GOOD], ("cat", "dog"))
    assert (row["second_class"], row["second_probability"]) == ("dog", 0.25)
    assert row["probabilities"] == {"cat": 0.75, "dog": 0.25}
    (row,) = written(tmp_path / "found.csv", [GOOD], ("cat", "dog"))
    assert (row["second_class"], row["second_probability"]) == ("dog", "0.25")
    assert (row["probability of cat"], row["probability of dog"]) == ("0.75", "0.25")


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@x.png", "＝1.png"])
def test_no_name_is_a_formula_in_a_csv_file(tmp_path, name):
    rows = [Row(name, None, name, 0.5, name, 0.2, -0.7, True, (0.5,)), Row("/a/=1.png", "=1")]
    first, second = written(tmp_path / "out.csv", rows, (name,))
    assert (first["file"], first["class"], first["score"]) == (f"./{name}", f"'{name}", "-0.7")
    assert first["second_class"] == f"'{name}"
    assert (second["file"], second["error"]) == ("/a/=1.png", "'=1")
    heads = (tmp_path / "out.csv").read_text().splitlines()[0].split(",")
    assert not any(head.startswith(tuple("=+-@＝")) for head in heads)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_rows_go_to_the_disk_at_work_and_an_interruption_leaves_no_file(tmp_path, suffix):
    path = tmp_path / f"found.{suffix}"

    def interrupt():
        with writer(path, ("cat", "dog")) as write:
            for _ in range(1000):
                write(GOOD)
            (unfinished,) = tmp_path.iterdir()
            assert unfinished.stat().st_size > 10_000
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not list(tmp_path.iterdir())
