"""Numbers as the paper prints them, and tables for a terminal, Markdown and LaTeX."""

import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping
from itertools import zip_longest

import pandas as pd
from tabulate import tabulate

from utils.output import deliver, visible

STYLES = {"table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
DIGITS = {"ECE": 4, "Eff %": 0}  # behind the point; others have one
# Behind a number that is among the best: until the table's style is known, and then in a terminal.
# No name has the first.
BEST, BEST_SHOWN = "\1", "*"
MARKUP = re.compile(r"([\\`*_|<>&~#]|\](?=\())")  # what Markdown takes for more than a character
# What a spreadsheet takes for the begin of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def number(value: float, spread: float, column: str) -> str:
    """Mean ± standard deviation as the paper prints it: percentages to a decimal, ECE to four,
    efficiency without one.
    """
    if pd.isna(value):
        return ""
    if column == "Eff %":  # measured once, not once a run
        return f"{value:.0f}"
    digits = DIGITS.get(column, 1)
    text = f"{value:.{digits}f}" + (
        "" if pd.isna(spread) else f"±{spread:.{digits}f}".replace("±0.", "±.")
    )
    return text.removeprefix("0") if column == "ECE" else text


def signed(gap: float, column: str) -> str:
    """A difference, with its sign."""
    return "" if pd.isna(gap) else f"{gap:+.{DIGITS.get(column, 1)}f}"


def among_best(means: Mapping[str, float], spreads: Mapping[str, float], column: str) -> set[str]:
    """The methods within the best one's standard deviation of it, the best included: what the paper
    prints bold.
    """
    known = {method: mean for method, mean in means.items() if not pd.isna(mean)}
    if column == "Eff %" or len(known) < 2:
        return set()
    best = (min if column == "ECE" else max)(known.values())
    spread = max(
        (
            spreads[method]
            for method, mean in known.items()
            if mean == best and not pd.isna(spreads[method])
        ),
        default=0.0,
    )
    return {method for method, mean in known.items() if abs(mean - best) <= spread + 1e-9}


def heading(text: str, style: str) -> None:
    """What stands above a table; in LaTeX a comment."""
    width = max(40, shutil.get_terminal_size().columns - 3)
    folded = "\n".join(textwrap.fill(_clean(line, style), width) for line in text.split("\n"))
    deliver("\n" + textwrap.indent(folded, "% " if style == STYLES["latex"] else "") + "\n")


def as_text(cell: str) -> str:
    """A name as a cell of a CSV file, which a spreadsheet shall not take for a formula: with '
    before it where it would.
    """
    return f"'{cell}" if unicodedata.normalize("NFKC", cell).startswith(FORMULA) else cell


def show(rows: list[list[str]], heads: list[str], style: str) -> None:
    """Print a table, the marks of its best numbers as bold print; where a terminal's table goes to
    a file they are stars.
    """
    heads, *rows = [[_clean(cell, style) for cell in row] for row in (heads, *rows)]
    if style == STYLES["markdown"]:
        rows = [
            [f"**{cell.removesuffix(BEST)}**" if cell.endswith(BEST) else cell for cell in row]
            for row in rows
        ]
    if style != STYLES["table"]:
        table = tabulate(rows, heads, tablefmt=style, disable_numparse=True)
        # Afterwards: tabulate writes a backslash in a cell out as LaTeX.
        deliver(
            re.sub(rf"(\S+){BEST}", r"\\textbf{\1}", table) if style == STYLES["latex"] else table
        )
        return
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    deliver(
        "\n".join(
            _bold(line) if on_terminal else line.replace(BEST, BEST_SHOWN)
            for line in _terminal([heads, *rows])
        )
    )


def _clean(cell: str, style: str) -> str:
    """A cell without what a terminal, or Markdown, would obey; the mark of a best number stays."""
    cell, mark = cell.removesuffix(BEST), BEST * cell.endswith(BEST)
    cell = "\n".join(map(visible, cell.split("\n")))
    return (MARKUP.sub(r"\\\1", cell) if style == STYLES["markdown"] else cell) + mark


def _terminal(rows: list[list[str]]) -> list[str]:
    """The lines of a table, its cells' lines under each other; between columns a place for a mark
    and, if it fits, another.
    """
    cells = [[cell.split("\n") for cell in row] for row in rows]
    widths = [
        max(len(line.removesuffix(BEST)) for cell in column for line in cell) + 1
        for column in zip(*cells, strict=True)
    ]
    columns = shutil.get_terminal_size().columns
    if not sum(widths) - 1 <= columns < sum(widths) + len(widths) - 2:
        widths = [width + 1 for width in widths]
    lines = [
        "".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
        for row in cells
        for parts in zip_longest(*row, fillvalue="")
    ]
    lines.insert(max(map(len, cells[0])), "-" * (sum(widths) - 1))
    return lines


def _bold(line: str) -> str:
    """A line with each marked word in bold, and a space in place of its mark."""
    return re.sub(rf"(\S+){BEST}", "\033[1m\\1\033[0m ", line)
