"""Writes tables as LaTeX: complete `table` environments in the style of booktabs."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from utils.output import visible

from .table import BEST, Table
from .text_table import folded_head

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
RUNS = re.compile(r" \(n=(\d+)\)$")  # the end of a row's name
UNDER_A_ROW = {"· paper": "paper", "· differ.": "difference"}  # rows that belong to one above
SMALL_DEVIATION = (r"$\pm$ standard deviation", r"{\scriptsize$\pm$ standard deviation}")
# The box makes a table that is too wide as wide as the text, and leaves any other as it is.
ENVIRONMENT = r"""\begin{{table}}
\centering
\caption{{{caption}}}
\label{{tab:{label}}}
\small
\setlength{{\tabcolsep}}{{4pt}}
\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{%
\begin{{tabular}}{{{columns}}}
\toprule
{head} \\
\midrule
{rows}
\bottomrule
\end{{tabular}}}}
\end{{table}}"""


def escaped(text: str) -> str:
    """Return a text in which nothing is a command of LaTeX."""
    lines = unicodedata.normalize("NFC", text).split("\n")
    return "\n".join(visible(line).translate(ESCAPES) for line in lines)


def opening(command: str) -> str:
    """Return the lines above the first table: where it is from, and what it needs.

    Args:
        command: the command line that prints the tables.
    """
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"% printed by {visible(command)} on {when}\n% needs \\usepackage{{booktabs,graphicx}}"


def latex_table(table: Table, caption: str, rule: str, label: str) -> str:
    """Return a `table` environment.

    Numbers are aligned at their points: a column of numbers is a pair of columns, `r@{}l`.
    Deviations have a smaller font, and the best numbers are bold. If all rows are of the same
    number of runs, the caption has it instead of the rows.

    Args:
        table: its numbers as `reporting.numbers.number` writes them. If it has notes, they say what
            its numbers are, which are no means over runs.
        caption: what the table is about; the function adds what its numbers are.
        rule: which numbers are bold, in words.
        label: letters, digits and -.
    """
    heads, rows = [folded_head(head) for head in table.heads], table.rows
    counts = {match[1] for row in rows if (match := RUNS.search(row[0]))}
    said = [note.removesuffix(".") for note in table.notes]
    caption = ". ".join([caption, *(said or _what_numbers_are(heads, rows, rule, counts))]) + "."
    if len(counts) == 1:
        heads = [head.removesuffix("\n(runs)") for head in heads]
        rows = [[RUNS.sub("", row[0]), *row[1:]] for row in rows]
    # The first column has names, of which one may be a number.
    numeric = [False] + [
        all(NUMBER.fullmatch(cell) or cell == "n/a" for cell in column)
        for column in list(zip(*rows, strict=True))[1:]
    ]
    columns = "".join("r@{}l" if each else "l" for each in numeric)
    lines = [
        " & ".join(function(cell, each) for cell, each in zip(row, numeric, strict=True))
        for function, row in [(_head, heads), *((_cell, row) for row in rows)]
    ]
    return ENVIRONMENT.format(
        caption=escaped(caption).replace(*SMALL_DEVIATION),
        label=label,
        columns=columns,
        head=lines[0],
        rows="\n".join(rf"{line} \\" for line in lines[1:]),
    )


def _what_numbers_are(
    heads: Sequence[str], rows: Sequence[Sequence[str]], rule: str, counts: Collection[str]
) -> Iterator[str]:
    """Yield the sentences that a caption needs, without full stops."""
    cells = [cell for row in rows for cell in row[1:]]
    if any("±" in cell for cell in cells):
        number = next(iter(counts)) if len(counts) == 1 else "n"
        yield f"Mean ± standard deviation over {number} runs"
    else:
        yield "Each number is of one run"
    if any(cell.endswith(BEST) for cell in cells):
        yield f"Bold: {rule}"
    if any(row[0] in UNDER_A_ROW for row in rows):
        yield "Paper: as published; difference: ours minus the paper's"
    if any("AUPR" in head for head in heads):
        yield "AUPR: average precision, OOD images are the positive class"


def _head(text: str, numeric: bool) -> str:
    """Return a column's head, over one column or a pair."""
    text = text.replace("\n%", " %")
    head = escaped(text).replace("\n", r"\\")
    if "\n" in text:
        head = rf"\shortstack{{{head}}}"
    return rf"\multicolumn{{2}}{{c}}{{{head}}}" if numeric else head


def _cell(cell: str, numeric: bool) -> str:
    """Return a cell, or both cells of a pair of columns."""
    if not numeric:
        under = UNDER_A_ROW.get(cell)
        return rf"\quad {under}" if under else re.sub(r" \(n=(\d+)\)$", r" ($n=\1$)", escaped(cell))
    found = NUMBER.fullmatch(cell)
    if not found:
        return rf"\multicolumn{{2}}{{c}}{{{escaped(cell)}}}"
    sign, whole, fraction, deviation, best = found.groups(default="")
    parts = [rf"\textbf{{{part}}}" if best and part else part for part in (whole, fraction)]
    left = (f"${sign}$" if sign else "") + parts[0]
    spread = rf"{{\scriptsize$\pm${deviation}}}" if deviation else ""
    return f"{left} & {parts[1]}{spread}"
