"""Numbers as the paper prints them, and tables for a terminal, Markdown and LaTeX."""

import sys
import textwrap
from collections.abc import Mapping

import pandas as pd
from tabulate import tabulate

STYLES = {"table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
BEST = "*"  # behind a number that is among the best, until the table's style is known
GAP = "~"  # what a terminal's other cells end with: the mark stands between two columns, and takes no place of its own
BOLD = {"pipe": "**{}**", "latex_booktabs": r"\textbf{{{}}}"}


def number(value: float, spread: float, column: str) -> str:
    """Mean ± standard deviation as the paper prints it: percentages to a decimal, ECE to four, efficiency without one."""
    if pd.isna(value):
        return ""
    digits = {"ECE": 4, "Eff. %": 0}.get(column, 1)
    text = f"{value:.{digits}f}" + ("" if pd.isna(spread) else f"±{spread:.{digits}f}".replace("±0.", "±."))
    return text.removeprefix("0") if column == "ECE" else text


def signed(gap: float, column: str) -> str:
    """A difference, with its sign."""
    return "" if pd.isna(gap) else f"{gap:+.{ {'ECE': 4, 'Eff. %': 0}.get(column, 1)}f}"


def among_best(means: Mapping[str, float], spreads: Mapping[str, float], column: str) -> set[str]:
    """The methods within the best one's standard deviation of it, the best included: what the paper prints bold."""
    known = {method: mean for method, mean in means.items() if not pd.isna(mean)}
    if column == "Eff. %" or len(known) < 2:
        return set()
    best = (min if column == "ECE" else max)(known, key=known.__getitem__)
    spread = 0.0 if pd.isna(spreads[best]) else spreads[best]
    return {method for method, mean in known.items() if abs(mean - known[best]) <= spread + 1e-9}


def heading(text: str, style: str) -> None:
    """What stands above a table; in LaTeX a comment."""
    folded = "\n".join(textwrap.fill(line, 77) for line in text.split("\n"))
    print("\n" + textwrap.indent(folded, "% " if style == STYLES["latex"] else "") + "\n")


def show(rows: list[list[str]], heads: list[str], style: str) -> None:
    """Print a table, the marks of its best numbers as bold print; where a terminal's table goes to a file they stay."""
    if style != STYLES["table"]:
        rows = [[BOLD[style].format(cell.removesuffix(BEST)) if cell.endswith(BEST) else cell for cell in row] for row in rows]
        print(tabulate(rows, heads, tablefmt=style, disable_numparse=True))
        return
    gapped = [["\n".join(map(_with_gap, cell.split("\n"))) for cell in row] for row in [heads, *rows]]
    for line in _narrow(tabulate(gapped[1:], gapped[0], tablefmt=style, disable_numparse=True)).split("\n"):
        print(_bold(line) if sys.stdout.isatty() else line)


def _with_gap(line: str) -> str:
    return line if line.endswith(BEST) else line + GAP


def _narrow(table: str) -> str:
    """A table without the spaces between its columns, which its cells bring themselves: the paper's columns then fit 80."""
    lines = table.split("\n")
    rule = next(line for line in lines if line.startswith("--"))
    kept = [place for place, character in enumerate(rule) if character == "-"]
    lines = ["".join(line[place : place + 1] for place in kept) for line in lines]
    return "\n".join(line.replace(GAP, " ").rstrip() for line in lines)


def _bold(line: str) -> str:
    """A line with `word*` as the bold word and a space."""
    for word in line.split():
        if word.endswith(BEST):
            line = line.replace(word, f"\033[1m{word.removesuffix(BEST)}\033[0m ", 1)
    return line
