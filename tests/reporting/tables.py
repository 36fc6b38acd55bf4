"""Reads what analyze.py prints."""

import json

import analyze
from experiment import records

# The paper's OOD sets for CIFAR-10: source, title, role.
SETS = (
    ("cifar100", "CIFAR-100", "near"),
    ("tinyimagenet_resize", "TinyImageNet-resize", "far"),
    ("lsun_resize", "LSUN-resize", "far"),
    ("svhn", "SVHN", "very_far"),
)


def printed(capsys, *arguments):
    status = analyze.main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return status, out, err


def rows_of(out):
    """A markdown table's rows: first cell → the others."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in out.splitlines()
        if line.startswith("|")
    ]
    return lines[0], lines[2:]


def changed(folder, change, loss="SoftMax"):
    """Changes the written records of a loss."""
    for path in folder.rglob(records.METRICS):
        record = records.read_record(path)
        if record["titles"]["loss"] == loss:
            change(record)
            path.write_text(json.dumps(record))
