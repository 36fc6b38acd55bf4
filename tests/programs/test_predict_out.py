"""predict.py writes and prints its answers whatever the names, places and signals."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import predict
from dismax.detector import Detector
from tests.common import ROOT, until
from tests.finished_runs import read_rows


@pytest.mark.parametrize(
    "out",
    [
        "/proc/new/found.csv",
        "FILE/found.csv",
        "LINK/found.json",
        f"{'x' * 250}.csv",
        f"{'x' * 300}.csv",
        f"TMP/new/{'x' * 300}/found.csv",
    ],
)
def test_an_impossible_out_is_an_error_before_the_network_is_loaded(
    run, tmp_path, capsys, monkeypatch, out
):
    folder, images, _ = run
    monkeypatch.setattr(Detector, "load", None)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("missing")
    out = out.replace("FILE", str(tmp_path / "file")).replace("LINK", str(tmp_path / "link"))
    out = out.replace("TMP", str(tmp_path))
    assert predict.main([str(folder), str(images), "--out", out]) == 2
    error = capsys.readouterr().err
    assert f"--out {out} cannot be written (" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_folder_of_out_is_made(run, tmp_path):
    folder, images, _ = run
    out = tmp_path / "new" / "folder" / "found.csv"
    assert predict.main([str(folder), str(images), "--out", str(out)]) == 0
    assert len(read_rows(out)) == 7


def test_a_program_that_fails_does_not_make_the_folder_of_out(run, tmp_path):
    out = tmp_path / "new" / "found.csv"
    assert predict.main([str(run[1]), str(run[1]), "--out", str(out)]) == 2
    assert not out.parent.exists()


ODD = [
    b"=1+1.png",
    b"-x.png",
    b"@a.png",
    "ü €.png".encode(),
    b"latin-1 \xfc.png",
    b"line\nbreak.png",
    b"clear \x1b[2J.png",
]


@pytest.fixture
def odd(run, tmp_path, monkeypatch):
    """The run's folder. The working directory holds images with odd names."""
    folder, images, _ = run
    (tmp_path / "odd").mkdir()
    monkeypatch.chdir(tmp_path / "odd")
    for name in ODD:
        shutil.copyfile(images / "some" / "0.png", os.fsdecode(name))
    return folder


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_odd_names_are_printed_in_any_encoding(odd, tmp_path, monkeypatch, encoding):
    with open(tmp_path / "printed", "w", encoding=encoding) as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert predict.main([str(odd), ".", "--device", "cpu"]) == 0
        monkeypatch.undo()
    printed = (tmp_path / "printed").read_bytes()
    assert len(printed.splitlines()) == 2 + len(ODD) + 4  # headers, rows, counts, threshold
    assert b"\x1b" not in printed


@pytest.mark.parametrize("suffix", ["CSV", "json"])
def test_odd_names_in_the_file_name_the_images(odd, tmp_path, suffix):
    before = sorted(os.listdir(b"."))
    out = tmp_path / f"found.{suffix}"
    assert predict.main([str(odd), ".", "--device", "cpu", "--out", str(out)]) == 0
    with open(out, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = json.load(file) if suffix == "json" else list(csv.DictReader(file))
    names = [row["file"] for row in rows]
    assert sorted(os.fsencode(Path(name)) for name in names) == before
    assert all(Path(name).is_file() for name in names)
    if suffix == "CSV":
        assert not any(name.startswith(("=", "+", "-", "@")) for name in names)


@pytest.mark.parametrize("output", ["full", "closed"])
def test_a_table_that_cannot_be_printed_is_an_error_and_the_file_is_written(
    run, tmp_path, capsys, monkeypatch, output
):
    folder, images, _ = run
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full if output == "full" else None)
        out = tmp_path / "found.csv"
        assert predict.main([str(folder), str(images), "--device", "cpu", "--out", str(out)]) == 2
        monkeypatch.undo()
    assert "standard output" in capsys.readouterr().err
    assert len(read_rows(out)) == 7


@pytest.mark.parametrize(
    ("number", "reading"),
    [(signal.SIGTERM, False), pytest.param(signal.SIGINT, True, marks=pytest.mark.slow)],
)
def test_a_signal_ends_it_with_one_line_and_leaves_no_file(run, tmp_path, number, reading):
    folder, images, _ = run
    asked = ["--out", str(tmp_path / "found.csv"), "--sheet", str(tmp_path / "sheet.png")]
    command = [sys.executable, "predict.py", str(folder), *[str(images)] * 3000, *asked]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if reading:
            until(process, lambda: any(path.stat().st_size for path in tmp_path.iterdir()))
        else:
            time.sleep(1)
        process.send_signal(number)
        printed, error = process.communicate(timeout=60)
    assert process.returncode == 75
    assert error.strip().startswith("interrupted: nothing was ")
    assert len(error.strip().splitlines()) == 1
    assert not printed
    assert not list(tmp_path.iterdir())
