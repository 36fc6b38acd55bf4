"""A table of texts, which is printed or shown on the page."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# The last character of a cell that is among its column's best. No name holds it. What prints a
# table replaces it by bold print or a star.
BEST = "\1"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # starts of a formula in a spreadsheet


@dataclass(frozen=True)
class Table:
    """Heads and rows of texts, with sentences below them. Without rows there are only sentences."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    matrix: bool = False  # whether cells are percentages to shade, with the right ones diagonal


def without_formula(cell: str) -> str:
    """Return a cell of a CSV file that no spreadsheet takes for a formula.

    It starts with ' where a spreadsheet would.
    """
    return f"'{cell}" if unicodedata.normalize("NFKC", cell).startswith(FORMULA) else cell
