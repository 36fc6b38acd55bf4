"""Prints tables with their headings, for a terminal, Markdown and LaTeX."""

import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from utils.output import deliver, visible

from .latex import caption_of, latex_table
from .tables import STYLES, heading, show

WIDE = 110  # columns of a terminal that shows the first column of a table in one line
LABEL_WIDTH = 10  # characters of a line of the first column in a narrower terminal
CELL_WIDTH = 15  # characters of a line of the other columns, enough for "MMLES, fitted T"
WORD_WIDTH = 9  # characters of a line of a column's head, if its words can be broken


@dataclass
class Printer:
    """Prints tables in one format."""

    form: str  # table, markdown or latex
    rule: str  # which numbers are bold, in words
    labels: Counter[str] = field(default_factory=Counter)  # of LaTeX, and how often each was used

    def print(
        self, title: str, heads: list[str], rows: list[list[str]], how: str = "", brief: str = ""
    ) -> None:
        """Print a table with its heading.

        Args:
            title: what it is about.
            heads: the columns' heads.
            rows: the cells.
            how: what its runs share, in words.
            brief: the same for a caption.
        """
        if self.form == "latex":
            note = f"% {visible(how)}\n" if how != brief else ""
            caption = caption_of(title, brief, rows, self.rule)
            deliver(f"\n{note}{latex_table(heads, rows, caption, self._label(title))}")
            return
        heading(f"{title}\n{how}" if how else title, STYLES[self.form])
        print_table(rows, heads, STYLES[self.form])

    def note(self, lines: Sequence[str]) -> None:
        """Print lines below a table; in LaTeX they are comments."""
        prefix = "% " if self.form == "latex" else ""
        deliver("\n".join(f"\n{prefix}{visible(line)}" for line in lines))

    def _label(self, title: str) -> str:
        """Return a label that no other table of this output has."""
        label = "-".join(re.findall(r"[a-z0-9]+", title.casefold())) or "results"
        self.labels[label] += 1
        return label if self.labels[label] == 1 else f"{label}-{self.labels[label]}"


def print_table(rows: list[list[str]], heads: list[str], style: str) -> None:
    """Print a table. In a terminal, long cells take several lines, so that it fits 80 columns."""
    if style == STYLES["table"]:
        wide = shutil.get_terminal_size().columns >= WIDE
        heads = [_folded_head(head) for head in heads]
        rows = [
            [
                label if wide else _folded_label(label),
                *(textwrap.fill(cell, CELL_WIDTH) for cell in cells),
            ]
            for label, *cells in rows
        ]
    show(rows, heads, style)


def _folded_head(head: str) -> str:
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


def _folded_label(label: str) -> str:
    """Return the first cell of a row in lines of `LABEL_WIDTH`."""
    return textwrap.fill(label.replace("preprocessing", "prepro- cessing"), LABEL_WIDTH)
