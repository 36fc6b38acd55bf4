"""The table of differences from one method, with intervals and p-values over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from .bold import ONE_RUN, one_run_each
from .choosing import compared, names_of
from .columns import Column, RunRow, columns_of, values_by_seed
from .numbers import mean_and_deviation, p_text, signed
from .paper import in_the_papers_order
from .runs import is_trained
from .seeds import Comparison, compare
from .statistics import LEVEL, holm, reach
from .table import BEST, Table

REFERENCE = "softmax"  # the loss that the others are compared with, if the table has it
HEADS = ["column", "method", "difference", "interval", "p", "Holm's p", "n"]
UNPAIRED = (
    "Unpaired: the two methods have fewer than two common seeds, so Welch's test compares all "
    "their runs."
)
NO_TEST = (
    "One run: the method, or the one that it is compared with, has one run, so there is no test."
)
CORRECTED = (
    "Bold or starred: Holm's p, which is corrected for the comparisons of the column, is below "
    "5 %. The interval is the 95 % t interval, which is not corrected."
)


def reference_of(rows: Sequence[RunRow]) -> str:
    """Return the method that the others are compared with by default: SoftMax, or the first one."""
    chosen = [
        row for row in rows if is_trained(row.record) and row.record["config"]["loss"] == REFERENCE
    ]
    return in_the_papers_order(row.method for row in chosen or rows)[0]


def refuse_unknown_method(rows: Sequence[RunRow], against: str) -> None:
    """Raises ValueError if no run is of the method that --compare names."""
    if named(rows, against) is None:
        methods = in_the_papers_order(row.method for row in rows)
        raise ValueError(
            f"--compare {against} is no method of these runs: choose one of {', '.join(methods)}"
        )


def named(rows: Sequence[RunRow], against: str) -> str | None:
    """Return the method that --compare names, by its title or else by another name of `names_of`;
    None if it is not there. A part of a name is not enough, since it may be that of several.
    """
    wanted = compared(against)
    titles = [row.method for row in rows if compared(row.method) == wanted]
    others = [row.method for row in rows if wanted in map(compared, names_of(row))]
    return next(iter([*titles, *others]), None)


def comparison_table(rows: Sequence[RunRow], against: str) -> Table:
    """Return the differences from a method, or only a note that says why there are none.

    A row is a column of the main table and a method: its mean minus that of the method `against`.

    Args:
        rows: of the runs of one table.
        against: the method's name, as `named` finds it; "" for that of `reference_of`.
    """
    names = in_the_papers_order(row.method for row in rows)
    baseline = named(rows, against) if against else reference_of(rows)
    if baseline is None:
        return Table("differences", HEADS, [], [f"No run of this table is of {against}."])
    title = f"differences from {baseline}"
    table: list[list[str]] = []
    tested: list[Comparison] = []
    for column in columns_of([row.record for row in rows]):
        values = values_by_seed(rows, column)
        if not column.per_run or not values[baseline]:
            continue
        found = {
            method: compare(values[method], values[baseline])
            for method in names
            if method != baseline and values[method]
        }
        table += _rows(column, found, values, baseline)
        tested += [comparison for comparison in found.values() if comparison]
    if not table:
        return Table(title, HEADS, [], ["There is no other method to compare with."])
    if one_run_each(row.method for row in rows):
        return Table(title, HEADS, [], [ONE_RUN])
    notes = [f"A difference is a method's mean minus that of {baseline}. {CORRECTED}"]
    if len(tested) < len(table):
        notes.append(NO_TEST)
    pairs = {comparison.pairs for comparison in tested}
    notes += [_reach_note(count) for count in sorted(pairs - {0})]
    return Table(title, HEADS, table, [*notes, UNPAIRED] if 0 in pairs else notes)


def _reach_note(pairs: int) -> str:
    """Return the sentence on what a number of pairs can show."""
    return (
        f"With {pairs} pairs the interval reaches {reach(pairs):.2f} standard deviations of the "
        "differences to each side, so a smaller mean difference is never significant."
    )


def _rows(
    column: Column,
    found: Mapping[str, Comparison | None],
    values: Mapping[str, Mapping[Any, float]],
    baseline: str,
) -> list[list[str]]:
    """Return the rows of a column. A method with one run has a difference alone."""
    p_values = {method: each.difference.p for method, each in found.items() if each}
    corrected = dict(zip(p_values, holm([*p_values.values()]), strict=True))
    rows = []
    for method, comparison in found.items():
        if comparison is None:
            means = [mean_and_deviation(values[name].values())[0] for name in (method, baseline)]
            text = signed(means[0] - means[1], column.digits)
            rows.append([column.title, method, text, "", "", "", "one run"])
            continue
        mean, low, high, p = comparison.difference
        mark = BEST if corrected[method] < LEVEL else ""
        interval = f"{signed(low, column.digits)} to {signed(high, column.digits)}"
        numbers = [signed(mean, column.digits) + mark, interval]
        numbers += [p_text(p), p_text(corrected[method])]
        rows.append([column.title, method, *numbers, comparison.runs])
    return rows
