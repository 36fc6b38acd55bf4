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
from .table import Table, without_formula
from .text_table import markdown_table, terminal_table, without_markup


@dataclass
class Printer:
    """Prints tables in one format."""

    form: str  # table, markdown or latex
    rule: str  # which numbers are bold, in words
    labels: Counter[str] = field(default_factory=Counter)  # of LaTeX, and how often each was used

    def print(self, table: Table, before: str = "", how: str = "", brief: str = "") -> None:
        """Print a table with its heading and notes. A table without rows has only these.

        Args:
            table: the table.
            before: the start of its heading.
            how: what its runs share, in words.
            brief: the same for a caption.
        """
        title = before + table.title
        if not table.rows:
            self.note([f"{title}:", *table.notes])
        elif self.form == "latex":
            note = f"% {visible(how)}\n" if how != brief else ""
            caption = f"{title}: {brief}" if brief else title
            deliver(f"\n{note}{latex_table(table, caption, self.rule, self._label(title))}")
        else:
            self._heading(f"{title}\n{how}" if how else title)
            form = markdown_table if self.form == "markdown" else terminal_table
            deliver(form(table))
            self.note(table.notes)

    def _heading(self, text: str) -> None:
        """Print the lines above a table."""
        clean = without_markup if self.form == "markdown" else visible
        lines = [textwrap.fill(clean(line), _width()) for line in text.split("\n")]
        deliver("\n" + "\n".join(lines) + "\n")

    def note(self, lines: Sequence[str]) -> None:
        """Print lines below a table, folded to the terminal; in LaTeX they are comments."""
        prefix = "% " if self.form == "latex" else ""
        for line in lines:
            # Not within an address or a name.
            folded = textwrap.wrap(
                visible(line), _width(), break_long_words=False, break_on_hyphens=False
            )
            deliver("\n" + "\n".join(prefix + part for part in folded))

    def _label(self, title: str) -> str:
        """Return a label that no other table of this output has."""
        label = "-".join(re.findall(r"[a-z0-9]+", title.split(" (")[0].casefold())) or "results"
        self.labels[label] += 1
        return label if self.labels[label] == 1 else f"{label}-{self.labels[label]}"


def _width() -> int:
    """Return how many characters a line of prose has."""
    return max(40, shutil.get_terminal_size().columns - 3)


def print_csv(runs: Runs) -> None:
    """Print one row for each run, set, temperature and score."""
    named = [(method_of(record), record) for record in runs.values()]
    table = detail_rows(named).drop(columns=["own", "scores_at"], errors="ignore")
    for name in map(str, table.select_dtypes(exclude="number")):
        # Each different text once: a column repeats the same few.
        texts = {cell: without_formula(visible(str(cell))) for cell in table[name].unique()}
        table[name] = table[name].map(texts)
    deliver(table.to_csv(index=False).removesuffix("\n"))
