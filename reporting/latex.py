"""Writes tables as LaTeX: complete `table` environments in the style of booktabs."""

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from utils.output import visible

from .tables import BEST

# What means something to LaTeX, and the characters of our own words that pdfLaTeX lacks. It has
# letters with accents; other alphabets need LuaLaTeX or a package.
ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "[": "{[}",  # behind a line break it would begin an option
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        "±": r"$\pm$",
        "×": r"$\times$",
        "·": r"$\cdot$",
        "−": "$-$",
        "ε": r"$\varepsilon$",
        "→": r"$\rightarrow$",
    }
)
# A mean, or a difference with its sign, and a standard deviation.
NUMBER = re.compile(rf"([+-]?)(\d*)(\.\d+)?(?:±([\d.]+))?({BEST}?)")
HEAD_WIDTH = 12  # characters of a line of a column's head
UNDER_A_ROW = {"· paper": "paper", "· differ.": "difference"}  # rows that belong to one above


def escaped(text: str) -> str:
    """Return a text in which nothing is a command of LaTeX."""
    return unicodedata.normalize("NFC", text).translate(ESCAPES)


def opening(command: str) -> str:
    """Return the lines above the first table: where it is from, and what it needs.

    Args:
        command: the command line that prints the tables.
    """
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"% printed by {visible(command)} on {when}\n% needs \\usepackage{{booktabs}}"


def caption_of(title: str, how: str, rows: Sequence[Sequence[str]], rule: str) -> str:
    """Return a caption that says what the numbers are.

    Args:
        title: what the table is about.
        how: what all of its runs share, in words; may be empty.
        rows: its cells.
        rule: which numbers are bold, in words.
    """
    cells = [cell for row in rows for cell in row[1:]]
    sentences = [f"{title}: {how}" if how else title]
    if any("±" in cell for cell in cells):
        sentences.append("Mean ± standard deviation over n runs")
    else:
        sentences.append("Each number is of one run")
    if any(cell.endswith(BEST) for cell in cells):
        sentences.append(f"Bold: {rule}")
    if any(row[0] in UNDER_A_ROW for row in rows):
        sentences.append("Paper: as published; difference: ours minus the paper's mean")
    sentences.append("AUPR: average precision, out-of-distribution images are positive")
    text = escaped(". ".join(sentences) + ".")
    return text.replace(escaped(" ± standard deviation"), r" {\scriptsize$\pm$ standard deviation}")


def latex_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str
) -> str:
    """Return a `table` environment.

    Numbers are aligned at their points: a column of numbers is a pair of columns, `r@{}l`.
    Deviations have a smaller font, and the best numbers are bold.

    Args:
        heads: the columns' heads, as text.
        rows: cells as text: numbers as `reporting.tables.number` writes them, `BEST` behind the
            best.
        caption: LaTeX.
        label: letters, digits and -.
    """
    # The first column has names, of which one may be a number.
    numeric = [False] + [
        all(NUMBER.fullmatch(cell) or cell == "n/a" for cell in column)
        for column in list(zip(*rows, strict=True))[1:]
    ]
    columns = "".join("r@{}l" if each else "l" for each in numeric)
    head = " & ".join(_head(text, each) for text, each in zip(heads, numeric, strict=True))
    lines = [
        " & ".join(_cell(cell, each) for cell, each in zip(row, numeric, strict=True))
        for row in rows
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{label}}}",
            r"\small",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *(rf"{line} \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _head(text: str, numeric: bool) -> str:
    """Return a column's head, in lines of about `HEAD_WIDTH`, over one column or a pair."""
    lines = [escaped(line) for line in textwrap.wrap(text, HEAD_WIDTH, break_long_words=False)]
    head = r"\\".join(lines)
    if len(lines) > 1:
        head = rf"\shortstack{{{head}}}"
    return rf"\multicolumn{{2}}{{c}}{{{head}}}" if numeric else head


def _cell(cell: str, numeric: bool) -> str:
    """Return a cell, or both cells of a pair of columns."""
    if not numeric:
        under = UNDER_A_ROW.get(cell)
        return rf"\quad {under}" if under else re.sub(r"\(n=(\d+)\)", r"($n=\1$)", escaped(cell))
    found = NUMBER.fullmatch(cell)
    if not found:
        return rf"\multicolumn{{2}}{{c}}{{{escaped(cell)}}}"
    sign, whole, fraction, deviation, best = found.groups(default="")
    parts = [rf"\textbf{{{part}}}" if best and part else part for part in (whole, fraction)]
    left = (f"${sign}$" if sign else "") + parts[0]
    spread = rf"{{\scriptsize$\pm${deviation}}}" if deviation else ""
    return f"{left} & {parts[1]}{spread}"
