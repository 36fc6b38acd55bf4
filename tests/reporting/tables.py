"""What several tests of tables and pages need."""

import json

import analyze
from experiment import records
from reporting.run_rows import run_rows

# The paper's OOD sets for CIFAR-10: source, title, role.
SETS = (
    ("cifar100", "CIFAR-100", "near"),
    ("tinyimagenet_resize", "TinyImageNet-resize", "far"),
    ("lsun_resize", "LSUN-resize", "far"),
    ("svhn", "SVHN", "very_far"),
)
# The losses of the runs that pages are made of.
LOSSES = ("softmax", "isomax", "dismax", "godin")


def printed(capsys, *arguments):
    """Run analyze.py. Return its exit status, standard output and error."""
    status = analyze.main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return status, out, err


def rows_of(out):
    """Return the heads and the rows of the markdown tables in a text."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in out.splitlines()
        if line.startswith("|")
    ]
    return lines[0], lines[2:]


def shown(records, methods=None):
    """Return the rows of records in the main table: of some methods, or of all."""
    rows = [row for record in records for row in run_rows(record)]
    return [row for row in rows if methods is None or row.method in methods]


def first_table_of(out):
    """Return the heads and the rows of the first markdown table in a text."""
    return rows_of(next(part for part in out.split("\n\n") if part.startswith("|")))


def changed(folder, change, loss="SoftMax"):
    """Change the written records of a loss."""
    for path in folder.rglob(records.METRICS):
        record = records.read_record(path)
        if record["titles"]["loss"] == loss:
            change(record)
            path.write_text(json.dumps(record))


def altered(record, *path, value=None):
    """Return a copy of a record in which the value at a path is another."""
    changed = json.loads(json.dumps(record))
    inside = changed
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = value
    return changed
