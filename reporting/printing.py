"""Prints tables with their headings, for a terminal, Markdown and LaTeX."""

import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from utils.output import deliver, visible

from .details import detail_rows
from .latex import latex_table
from .runs import Runs, method_of
from .significance import TableWithNotes
from .tables import BEST, heading, show, without_formula

LABEL_WIDTH = 10  # characters of a line of the first column, if the terminal has no room for more
CELL_WIDTH = 15  # characters of a line of the other columns, enough for "MMLES, fitted T"
WORD_WIDTH = 9  # characters of a line of a column's head, if its words can be broken


@dataclass
class Printer:
    """Prints tables in one format."""

    form: str  # table, markdown or latex
    rule: str  # which numbers are bold, in words
    labels: Counter[str] = field(default_factory=Counter)  # of LaTeX, and how often each was used

    def print(
        self,
        title: str,
        heads: list[str],
        rows: list[list[str]],
        how: str = "",
        brief: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        """Print a table with its heading.

        Args:
            title: what it is about.
            heads: the columns' heads.
            rows: the cells.
            how: what its runs share, in words.
            brief: the same for a caption.
            notes: sentences below the table, if its numbers are no means over runs.
        """
        if self.form == "latex":
            note = f"% {visible(how)}\n" if how != brief else ""
            caption = f"{title}: {brief}" if brief else title
            heads = list(map(_folded_head, heads))
            table = latex_table(heads, rows, caption, self.rule, self._label(title), notes)
            deliver(f"\n{note}{table}")
            return
        heading(f"{title}\n{how}" if how else title, self.form)
        print_table(rows, heads, self.form)
        self.note(notes)

    def print_tests(self, tests: TableWithNotes, before: str = "") -> None:
        """Print a table and its notes, or the notes alone; `before` is the start of its title."""
        title = before + tests.title
        if tests.rows:
            self.print(title, tests.heads, tests.rows, notes=tests.notes)
        else:
            self.note([f"{title}:", *tests.notes])

    def note(self, lines: Sequence[str]) -> None:
        """Print lines below a table, folded to the terminal; in LaTeX they are comments."""
        prefix, width = "", max(40, shutil.get_terminal_size().columns - 3)
        if self.form == "latex":
            prefix = "% "
        for line in lines:
            # Not within an address or a name.
            folded = textwrap.wrap(
                visible(line), width, break_long_words=False, break_on_hyphens=False
            )
            deliver("\n" + "\n".join(prefix + part for part in folded))

    def _label(self, title: str) -> str:
        """Return a label that no other table of this output has."""
        label = "-".join(re.findall(r"[a-z0-9]+", title.split(" (")[0].casefold())) or "results"
        self.labels[label] += 1
        return label if self.labels[label] == 1 else f"{label}-{self.labels[label]}"


def print_table(rows: list[list[str]], heads: list[str], form: str) -> None:
    """Print a table. In a terminal, long cells take several lines, so that it fits 80 columns."""
    if form == "table":
        heads = [_folded_head(head) for head in heads]
        cells = [[textwrap.fill(cell, CELL_WIDTH) for cell in row[1:]] for row in rows]
        width = _room_for_labels([heads[1:], *cells])
        labels = [_folded_label(row[0], width) for row in rows]
        rows = [[label, *others] for label, others in zip(labels, cells, strict=True)]
    show(rows, heads, form)


def _room_for_labels(others: list[list[str]]) -> int:
    """Return how many characters the other columns of a table leave for the first one's lines."""
    taken = sum(
        # A column has two places more, for a mark and between columns.
        max(len(line.removesuffix(BEST)) for cell in column for line in cell.split("\n")) + 2
        for column in zip(*others, strict=True)
    )
    return max(LABEL_WIDTH, shutil.get_terminal_size().columns - taken - 2)


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


def _folded_label(label: str, width: int) -> str:
    """Return the first cell of a row in lines of a width."""
    if width < len("preprocessing"):
        label = label.replace("preprocessing", "prepro- cessing")
    return textwrap.fill(label, width)


def print_csv(runs: Runs) -> None:
    """Print one row for each run, set, temperature and score."""
    named = [(method_of(record), record) for record in runs.values()]
    table = detail_rows(named).drop(columns=["own", "scores_at"], errors="ignore")
    for name in map(str, table.select_dtypes(exclude="number")):
        # Each different text once: a column repeats the same few.
        texts = {cell: without_formula(visible(str(cell))) for cell in table[name].unique()}
        table[name] = table[name].map(texts)
    deliver(table.to_csv(index=False).removesuffix("\n"))
