"""Shared by tests of programs that read finished runs."""

import csv
import json
from pathlib import Path

import torch

from experiment import records
from experiment.config import RunConfig
from losses import LOSSES
from models import build_model

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


def model_file_content(loss="isomaxplus", model="smallcnn") -> dict:
    """The content of a run's model.pt, here with an untrained network."""
    torch.manual_seed(0)
    network = LOSSES[loss].wrap(build_model(model, 8, LOSSES[loss].head)).eval()
    network.classifier.set_thresholds(torch.randn(50))
    return {
        "config": RunConfig(model=model, loss=loss, recipe="paper", epochs=3).as_json(),
        "classes": list("01234567"),
        "size": [8, 8],
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "margin": 0,
        "state_dict": network.state_dict(),
    }


def read_rows(path: Path) -> list[dict]:
    """The rows of a file that predict.py wrote."""
    if path.suffix.lower() == ".json":
        return json.loads(path.read_text())
    return list(csv.DictReader(path.read_text().splitlines()))
