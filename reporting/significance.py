"""What --compare prints: differences from a method, intervals of single runs, and ranks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiment.records import PREDICTIONS

from . import comparisons, ranking
from .columns import RunRow
from .comparisons import comparison_table, named
from .grouping import Part
from .paper import in_the_papers_order
from .runs import Runs


class TableWithNotes(NamedTuple):
    """A table with sentences below it. Without rows there are only sentences."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    notes: list[str]


def refuse_unknown_method(rows: Sequence[RunRow], against: str) -> None:
    """Raises ValueError if no run is of the method that --compare names."""
    methods = in_the_papers_order(row.method for row in rows)
    if named(rows, against) is None:
        raise ValueError(
            f"--compare {against} is no method of these runs: choose one of {', '.join(methods)}"
        )


def comparison_tables(part: Part, against: str) -> Iterator[TableWithNotes]:
    """Yield the comparisons and the intervals of a group of runs.

    Args:
        part: the group.
        against: the method with which the others are compared.
    """
    found = comparison_table(part.rows, against)
    title = f"differences from {against}"
    if found is None:
        yield TableWithNotes(title, [], [], [f"No run of this table is of {against}."])
    else:
        yield TableWithNotes(title, comparisons.HEADS, *found)
    yield from interval_tables(part.runs)


def interval_tables(members: Runs) -> Iterator[TableWithNotes]:
    """Yield the tables of bootstrap intervals of the runs that keep their predictions.

    A note names the runs that do not, or whose predictions are damaged.
    """
    title = "intervals over images"
    kept = [folder for folder in members if (folder / PREDICTIONS).exists()]
    if not kept:
        note = f"No intervals over images: no run keeps its {PREDICTIONS}."
        yield TableWithNotes(title, [], [], [note])
        return
    # They import PyTorch, which analyze.py does not need for records alone.
    from . import intervals
    from .outcomes import load_each, load_outcome

    def rows(folder: Path, record: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
        outcome = load_outcome(folder, record)
        return intervals.test_row(outcome), intervals.set_rows(outcome)

    loaded, lacking = load_each(members, rows)
    tests = [test for _, (test, _) in loaded]
    sets = [row for _, (_, rows_of_sets) in loaded for row in rows_of_sets]
    notes = [f"No intervals of {', '.join(runs)}: {reason}." for reason, runs in lacking.items()]
    if not tests:
        yield TableWithNotes(title, [], [], notes)
        return
    yield TableWithNotes(title, intervals.TEST_HEADS, tests, [])
    yield TableWithNotes(f"{title}, own score", intervals.SET_HEADS, sets, [intervals.NOTE, *notes])


def ranking_table(tables: Sequence[Sequence[RunRow]]) -> TableWithNotes:
    """Return the ranks over the OOD sets of all tables, or a note that says why there are none.

    Args:
        tables: the rows of the runs of each table.
    """
    title, found = "Ranks over OOD sets", ranking.ranking(tables)
    if isinstance(found, str):
        return TableWithNotes(title, [], [], [found])
    return TableWithNotes(title, ranking.HEADS, found.rows, found.notes)
