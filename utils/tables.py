"""Numbers as the paper prints them, and tables for a terminal, Markdown and LaTeX."""

import re
import sys
import textwrap
from collections.abc import Mapping

import pandas as pd
from tabulate import tabulate

STYLES = {"table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
BEST = "*"  # behind a number that is among the best, until the table's style is known
GAP = "~"  # what a terminal's other cells end with: the mark stands between two columns, and takes no place of its own


def number(value: float, spread: float, column: str) -> str:
    """Mean ± standard deviation as the paper prints it: percentages to a decimal, ECE to four, efficiency without one."""
    if pd.isna(value):
        return ""
    if column == "Eff %":  # measured once, not once a run
        return f"{value:.0f}"
    digits = 4 if column == "ECE" else 1
    text = f"{value:.{digits}f}" + ("" if pd.isna(spread) else f"±{spread:.{digits}f}".replace("±0.", "±."))
    return text.removeprefix("0") if column == "ECE" else text


def signed(gap: float, column: str) -> str:
    """A difference, with its sign."""
    return "" if pd.isna(gap) else f"{gap:+.{ {'ECE': 4, 'Eff %': 0}.get(column, 1)}f}"


def among_best(means: Mapping[str, float], spreads: Mapping[str, float], column: str) -> set[str]:
    """The methods within the best one's standard deviation of it, the best included: what the paper prints bold."""
    known = {method: mean for method, mean in means.items() if not pd.isna(mean)}
    if column == "Eff %" or len(known) < 2:
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
    if style == STYLES["markdown"]:
        rows = [[f"**{cell.removesuffix(BEST)}**" if cell.endswith(BEST) else cell for cell in row] for row in rows]
    if style != STYLES["table"]:
        table = tabulate(rows, heads, tablefmt=style, disable_numparse=True)
        # Afterwards: tabulate writes a backslash in a cell out as LaTeX.
        print(re.sub(r"(\S+)\*", r"\\textbf{\1}", table) if style == STYLES["latex"] else table)
        return
    gapped = [["\n".join(map(_with_gap, cell.split("\n"))) for cell in row] for row in [heads, *rows]]
    for line in _narrow(tabulate(gapped[1:], gapped[0], tablefmt=style, disable_numparse=True)).split("\n"):
        print(_bold(line) if sys.stdout.isatty() else line)


def _with_gap(line: str) -> str:
    return line if line.endswith(BEST) else line + GAP


def _narrow(table: str) -> str:
    """A table whose columns stand one place apart, in which there is nothing or a mark: the paper's then fit 80."""
    lines = table.replace(GAP, " ").split("\n")
    rule = next(at for at, line in enumerate(lines) if line.startswith("--"))
    width = max(map(len, lines))
    places = list(zip(*(line.ljust(width) for at, line in enumerate(lines) if at != rule), strict=True))
    kept, after_gap = [], True
    for place, characters in enumerate(places):
        gap = set(characters) <= {" ", BEST}
        if not (after_gap and set(characters) == {" "}):
            kept.append(place)
        after_gap = gap
    lines = ["".join(line[place : place + 1] for place in kept).rstrip() for line in lines]
    lines[rule] = "-" * max(map(len, lines[:rule] + lines[rule + 1 :]))
    return "\n".join(lines)


def _bold(line: str) -> str:
    """A line with `word*` as the bold word and a space."""
    for word in line.split():
        if word.endswith(BEST):
            line = line.replace(word, f"\033[1m{word.removesuffix(BEST)}\033[0m ", 1)
    return line
