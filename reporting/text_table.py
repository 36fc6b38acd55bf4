"""A table as text: for a terminal, or in Markdown."""

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from tabulate import tabulate
from wcwidth import wcswidth

from utils.output import visible

from .table import BEST, Table

STAR = "*"
MARKUP = re.compile(r"([\\`*_|<>&~#]|\](?=\())")  # characters that mean something in Markdown
LABEL_WIDTH = 10  # characters of a line of the first column, if the terminal has no room for more
CELL_WIDTH = 15  # characters of a line of the other columns, enough for "MMLES, fitted T"
WORD_WIDTH = 9  # characters of a line of a column's head, if its words can be broken


def terminal_table(table: Table) -> str:
    """Return a table for a terminal. Long cells take several lines, so that it fits 80 columns.

    The best numbers are bold; if the output goes to a file they have stars.
    """
    heads = [folded_head(head) for head in table.heads]
    cells = [[textwrap.fill(cell, CELL_WIDTH) for cell in row[1:]] for row in table.rows]
    width = _room_for_labels([heads[1:], *cells])
    labels = [_folded_label(row[0], width) for row in table.rows]
    rows = [[label, *others] for label, others in zip(labels, cells, strict=True)]
    lines = _lines([[_visible(cell) for cell in row] for row in (heads, *rows)])
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return "\n".join(_bold(line) if on_terminal else line.replace(BEST, STAR) for line in lines)


def markdown_table(table: Table) -> str:
    """Return a table in Markdown, with the best numbers in bold."""
    heads, *rows = [[_in_markdown(cell) for cell in row] for row in (table.heads, *table.rows)]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True)


def without_markup(text: str) -> str:
    """Return a text without control characters in which nothing means something in Markdown."""
    return MARKUP.sub(r"\\\1", visible(text))


def _in_markdown(cell: str) -> str:
    """Return a cell of a Markdown table: in bold if it is marked."""
    text = without_markup(cell.removesuffix(BEST))
    return f"**{text}**" if cell.endswith(BEST) else text


def _visible(cell: str) -> str:
    """Return a cell of several lines without other control characters; `BEST` stays."""
    mark = BEST if cell.endswith(BEST) else ""
    return "\n".join(map(visible, cell.removesuffix(BEST).split("\n"))) + mark


def _room_for_labels(others: Sequence[Sequence[str]]) -> int:
    """Return how many characters the other columns of a table leave for the first one's lines."""
    taken = sum(
        # A column has two places more, for a mark and between columns.
        max(len(line.removesuffix(BEST)) for cell in column for line in cell.split("\n")) + 2
        for column in zip(*others, strict=True)
    )
    return max(LABEL_WIDTH, shutil.get_terminal_size().columns - taken - 2)


def folded_head(head: str) -> str:
    """Return a column's head with a line for each word.

    A word longer than `WORD_WIDTH` is broken after a hyphen, or before a capital letter.
    """
    place = r"(?:(?<=-)|(?<=[a-z])(?=[A-Z])|$)"
    parts = [
        part
        for word in head.replace("_", "_ ").split(" ")
        for part in re.findall(rf".{{1,{WORD_WIDTH}}}{place}|.+", word)
    ]
    return "\n".join(parts)


def _folded_label(label: str, width: int) -> str:
    """Return the first cell of a row in lines of a width."""
    if width < len("preprocessing"):
        label = label.replace("preprocessing", "prepro- cessing")
    return textwrap.fill(label, width)


def _lines(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table whose cells may have several lines; the first row is the heads.

    A column has one place behind its cells for a mark, and one more if the table still fits the
    terminal.
    """
    cells = [[cell.split("\n") for cell in row] for row in rows]
    widths = [
        max(_places(line.removesuffix(BEST)) for cell in column for line in cell) + 1
        for column in zip(*cells, strict=True)
    ]
    terminal = shutil.get_terminal_size().columns
    narrow, wide = sum(widths) - 1, sum(widths) + len(widths) - 2
    # A table that does not fit anyway has the second place too.
    if not narrow <= terminal < wide:
        widths = [width + 1 for width in widths]
    lines = [
        "".join(
            part + " " * (width - _places(part)) for part, width in zip(parts, widths, strict=True)
        ).rstrip()
        for row in cells
        for parts in zip_longest(*row, fillvalue="")
    ]
    head_lines = max(map(len, cells[0]))
    lines.insert(head_lines, "-" * (sum(widths) - 1))
    return lines


def _places(text: str) -> int:
    """Return how many places a text takes in a terminal; a mark takes one."""
    return wcswidth(text.replace(BEST, " "))


def _bold(line: str) -> str:
    """Return a line with each marked word in bold, and a space in place of its mark."""
    return re.sub(rf"(\S+){BEST}", "\033[1m\\1\033[0m ", line)
