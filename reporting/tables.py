"""Prints numbers as the paper does, and tables for a terminal and Markdown."""

import math
import re
import shutil
import statistics
import sys
import textwrap
import unicodedata
from collections.abc import Iterable
from itertools import zip_longest

import pandas as pd
from tabulate import tabulate
from wcwidth import wcswidth

from utils.output import deliver, visible

# The last character of a cell that is among its column's best. No name holds it. `show` replaces
# it by bold print, or by a star where a terminal's table goes to a file.
BEST = "\1"
STAR = "*"
MARKUP = re.compile(r"([\\`*_|<>&~#]|\](?=\())")  # characters that mean something in Markdown
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # starts of a formula in a spreadsheet


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation (n - 1) of the values that are not NaN.

    The mean of no value, and the deviation of fewer than two, are NaN.
    """
    known = [value for value in values if not math.isnan(value)]
    mean = statistics.fmean(known) if known else math.nan
    spread = len(known) > 1 and math.isfinite(mean)  # a plugin's column may be infinite
    return mean, statistics.stdev(known) if spread else math.nan


def number(mean: float, deviation: float, digits: int = 1) -> str:
    """Return mean ± standard deviation as the paper prints it; "" for NaN.

    A deviation has no zero before the point. A mean has one only if it is printed to one digit.
    """
    if pd.isna(mean):
        return ""
    text = f"{mean:.{digits}f}"
    if not pd.isna(deviation):
        text += f"±{deviation:.{digits}f}".replace("±0.", "±.")
    return text.removeprefix("0") if digits > 1 else text


def mean_cell(values: Iterable[float], digits: int = 1) -> str:
    """Return the mean ± standard deviation of the values that are not NaN; "" if there is none."""
    return number(*mean_and_deviation(values), digits)


def signed(difference: float, digits: int) -> str:
    """Return a difference with its sign; "" for NaN."""
    return "" if pd.isna(difference) else f"{difference:+.{digits}f}"


def heading(text: str, form: str) -> None:
    """Print the lines above a table."""
    width = max(40, shutil.get_terminal_size().columns - 3)
    folded = "\n".join(textwrap.fill(_safe(line, form), width) for line in text.split("\n"))
    deliver(f"\n{folded}\n")


def without_formula(cell: str) -> str:
    """Return a cell of a CSV file that no spreadsheet takes for a formula.

    It starts with ' where a spreadsheet would.
    """
    return f"'{cell}" if unicodedata.normalize("NFKC", cell).startswith(FORMULA) else cell


def show(rows: list[list[str]], heads: list[str], form: str) -> None:
    """Print a table, with the best numbers in bold.

    A table in the terminal's form that goes to a file has stars instead.
    """
    heads, *rows = [[_safe(cell, form) for cell in row] for row in (heads, *rows)]
    if form == "table":
        on_terminal = sys.stdout is not None and sys.stdout.isatty()
        lines = _terminal_lines([heads, *rows])
        deliver(
            "\n".join(_bold(line) if on_terminal else line.replace(BEST, STAR) for line in lines)
        )
        return
    rows = [[_markdown_bold(cell) for cell in row] for row in rows]
    deliver(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True))


def _safe(cell: str, form: str) -> str:
    """Return a cell without control characters and, in Markdown, without markup; `BEST` stays."""
    mark = BEST if cell.endswith(BEST) else ""
    cell = "\n".join(map(visible, cell.removesuffix(BEST).split("\n")))
    if form == "markdown":
        cell = MARKUP.sub(r"\\\1", cell)
    return cell + mark


def _markdown_bold(cell: str) -> str:
    """Return a marked cell in bold, any other as it is."""
    return f"**{cell.removesuffix(BEST)}**" if cell.endswith(BEST) else cell


def _terminal_lines(rows: list[list[str]]) -> list[str]:
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
