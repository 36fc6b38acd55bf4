"""A table on the page: its groups of rows, and the same table as a CSV file in the page."""

import base64
import csv
import io
import re
from collections.abc import Sequence

from .table import BEST, Table, without_formula

BELOW = "·"  # starts the first cell of a row that belongs to the row above it
LONGEST = 100  # letters of a file's name
DEVIATION = "±"  # between a mean and its standard deviation


def bodies(table: Table) -> list[list[Sequence[str]]]:
    """Return the rows in groups that stay together when the table is sorted.

    A row that begins with a dot belongs to the row above it.
    """
    found: list[list[Sequence[str]]] = []
    for row in table.rows:
        if row[0].startswith(BELOW) and found:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def csv_of(table: Table) -> str:
    """Return a table as CSV, without marks of the best.

    A column with deviations becomes two columns: the means, and the deviations. The first cell of a
    row that belongs to another names both.
    """
    cells = [
        [f"{body[0][0]} {row[0]}" if place else row[0], *row[1:]]
        for body in bodies(table)
        for place, row in enumerate(body)
    ]
    columns = []
    for head, *column in zip(table.heads, *cells, strict=True):
        texts = [cell.removesuffix(BEST) for cell in column]
        if any(_is_with_deviation(text) for text in texts):
            parts = [text.partition(DEVIATION) for text in texts]
            columns.append([head, *(mean for mean, _, _ in parts)])
            columns.append([f"{head} deviation", *(deviation for _, _, deviation in parts)])
        else:
            columns.append([head, *texts])
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(
        [_plain(cell) for cell in row] for row in zip(*columns, strict=True)
    )
    return file.getvalue()


def csv_url(table: Table) -> str:
    """Return a table's CSV as a data URL, which a browser saves without any other file."""
    content = csv_of(table).encode("utf-8", errors="backslashreplace")
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(content).decode()}"


def _is_with_deviation(text: str) -> bool:
    """Whether a cell is a mean with a deviation, such as 98.2±.2."""
    return bool(re.fullmatch(r"[-+.\d]+±[.\d]+", text))


def _plain(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula. A number stays one."""
    return cell if re.fullmatch(r"[-+]?[.\d]+", cell) else without_formula(cell)


def file_name(*titles: str) -> str:
    """Return the name of a CSV file: its titles in small letters and digits, with hyphens."""
    words = re.findall(r"[a-z0-9]+", " ".join(titles).lower())
    return f"{'-'.join(words)[:LONGEST] or 'table'}.csv"
