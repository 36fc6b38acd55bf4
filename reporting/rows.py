"""The answers of predict.py, one row for each image, and the CSV or JSON file of all rows."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TextIO

from utils.files import whole_file

from .table import without_formula


@dataclass(frozen=True)
class Row:
    """The answer for one image. A file that could not be read has an error instead."""

    file: str
    error: str | None = None
    name: str | None = None  # of the most probable class
    probability: float | None = None
    second_name: str | None = None
    second_probability: float | None = None
    score: float | None = None
    accepted: bool | None = None
    probabilities: Sequence[float] = ()  # of all classes
    coloured: bool = False
    size: tuple[int, int] | None = None  # (height, width) in its file

    def columns(self) -> dict[str, Any]:
        """Return the columns of a file, except the probabilities of all classes."""
        return {
            "file": self.file,
            "class": self.name,
            "probability": self.probability,
            "score": self.score,
            "in_distribution": self.accepted,
            "second_class": self.second_name,
            "second_probability": self.second_probability,
            "error": self.error,
        }


@contextmanager
def writer(path: Path, all_names: Sequence[str] = ()) -> Iterator[Callable[[Row], None]]:
    """Yield a function that writes a row at once, as JSON or CSV by the path's suffix.

    The file is whole or not there. Bytes of names that are no UTF-8 stay as they are.

    Args:
        path: the file.
        all_names: the names of all classes, if the probability of each is to be written.
    """
    write_rows = _json if path.suffix.lower() == ".json" else _csv
    with (
        whole_file(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        write_rows(file, all_names) as write,
    ):
        yield write


@contextmanager
def _json(file: TextIO, all_names: Sequence[str]) -> Iterator[Callable[[Row], None]]:
    """Yield a function that writes a row as an object of one JSON array, a line each."""
    before = chain(["\n"], repeat(",\n"))

    def write(row: Row) -> None:
        columns = row.columns()
        if all_names:
            given = dict(zip(all_names, row.probabilities, strict=True)) if not row.error else None
            columns["probabilities"] = given
        file.write(next(before) + json.dumps(columns, allow_nan=False))

    file.write("[")
    yield write
    file.write("\n]\n")


@contextmanager
def _csv(file: TextIO, all_names: Sequence[str]) -> Iterator[Callable[[Row], None]]:
    """Yield a function that writes a row as a line of a table with heads.

    A spreadsheet takes a cell that begins with = + - or @ for a formula. So such a class name gets
    a ' in front, and such a file name gets ./ in front, which keeps it a name of the same file.
    """
    heads = [f"probability of {name}" for name in all_names]
    lines = csv.DictWriter(file, [*Row("").columns(), *heads])
    lines.writeheader()

    def write(row: Row) -> None:
        columns = row.columns()
        if without_formula(row.file) != row.file:
            columns["file"] = f"./{row.file}"
        cells = {
            head: without_formula(cell) if isinstance(cell, str) else cell
            for head, cell in columns.items()
        }
        lines.writerow(cells | dict(zip(heads, row.probabilities, strict=not row.error)))

    yield write
