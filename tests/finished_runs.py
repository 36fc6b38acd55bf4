"""Shared by tests of programs that read finished runs."""

import json
from pathlib import Path

from experiment import records

SETS = {"digits89", "photos", "noise"}  # the out-of-distribution sets of the digits
CPU = ("--device", "cpu")  # where the runs were made; a GPU rounds in another way


def call(program, capsys, *arguments):
    """Run a program in this process. Returns its exit status, standard output and error."""
    capsys.readouterr()
    status = program.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def read(folder: Path) -> dict:
    """The record of a run's folder."""
    return records.read_record(folder / records.METRICS)


def edit(folder: Path, change) -> None:
    """Change the record of a run's folder in place, without checks."""
    record = read(folder)
    change(record)
    (folder / records.METRICS).write_text(json.dumps(record))


def contents(folder: Path) -> dict[Path, bytes]:
    """Path → bytes of all files below a folder that have a suffix."""
    return {path: path.read_bytes() for path in folder.rglob("*.*")}
