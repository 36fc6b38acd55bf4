"""What --compare prints: differences from a method, intervals of single runs, and ranks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tqdm import tqdm

from experiment.records import PREDICTIONS

from . import comparisons, ranking
from .columns import RunRow
from .comparisons import comparison_table, named
from .grouping import Part
from .paper import in_the_papers_order
from .runs import Runs, method_of


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
    from .outcomes import DAMAGED, load_outcome

    tests: list[list[str]] = []
    sets: list[list[str]] = []
    lacking: dict[str, list[str]] = {}  # reason → runs
    for folder in tqdm(members, unit=" runs", leave=False, disable=None):
        record = members[folder]
        try:
            outcome = load_outcome(folder, record)
            tests.append(intervals.test_row(outcome))
            sets += intervals.set_rows(outcome)
        except DAMAGED as error:
            run = f"{method_of(record)} {record['config']['seed']}"
            lacking.setdefault(str(error), []).append(run)
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
