"""What the numbers of a table carry: differences from one method, paired over common seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .columns import Column, RunRow, columns_of, values_by_seed
from .comparisons import reference_of
from .paper import in_the_papers_order
from .seeds import compare
from .statistics import LEVEL, holm


class Statement(NamedTuple):
    """A sentence, and the differences that it announces."""

    text: str
    differences: Sequence[str] = ()


class Difference(NamedTuple):
    """A method's difference from the reference in one column, with its paired t test."""

    method: str
    column: Column
    pairs: int
    mean: float
    low: float  # of the 95 % t interval
    high: float
    p: float

    def __str__(self) -> str:
        better = (self.mean < 0) == self.column.lower_is_better
        title, digits = self.column.title, self.column.digits
        unit = " points" if title.endswith("%") else ""
        return (
            f"{self.method} is {'better' if better else 'worse'} in {title.removesuffix(' %')}: "
            f"{self.mean:+.{digits}f}{unit} (95 % interval {self.low:+.{digits}f} to "
            f"{self.high:+.{digits}f})"
        )


def conclude(rows: Sequence[RunRow]) -> list[Statement]:
    """Return what the main table of these runs shows about the differences between its methods.

    Every method is compared with SoftMax; without SoftMax, with the first one. A difference is
    claimed if it is significant after Holm's correction (Holm 1979) for all comparisons of the
    table. The others that are significant are hints.

    Args:
        rows: of the runs of the table.
    """
    if len({row.method for row in rows}) < 2:
        return [Statement("There is one method, so there is nothing to compare.")]
    reference = reference_of(rows)
    others = in_the_papers_order(row.method for row in rows if row.method != reference)
    columns = [column for column in columns_of([row.record for row in rows]) if column.per_run]
    differences = _differences(rows, columns, others, reference)
    judged = {difference.method for difference in differences}
    if not judged:
        text = f"no other method has two seeds in common with {reference}"
        return [Statement(f"Nothing can be concluded: {text}.")]
    unjudged = [name for name in others if name not in judged]
    claims = corrected(differences)
    hints = [each for each in differences if each.p < LEVEL and each not in claims]
    statements = [_claimed(reference, differences, claims)]
    if hints:
        text = _hints_text(len(hints), len(differences), bool(claims))
        statements.append(Statement(text, [*map(str, hints)]))
    if unjudged:
        text = f"has fewer than two seeds in common with {reference}, so nothing is said about it"
        statements += [Statement(f"{name} {text}.") for name in unjudged]
    return statements


def _claimed(
    reference: str, differences: Sequence[Difference], claims: Sequence[Difference]
) -> Statement:
    """Return the statement on the differences that are significant after correction."""
    pairs = sorted({difference.pairs for difference in differences})
    seeds = str(pairs[0]) if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
    tests = (
        f"{len(differences)} paired t tests over {seeds} common seeds, with Holm's correction at "
        "5 %"
    )
    if not claims:
        return Statement(f"No difference from {reference} is significant ({tests}).")
    if len(claims) == 1:
        text = f"Compared with {reference}, {claims[0]}. No other difference is significant"
        return Statement(f"{text} ({tests}).")
    text = f"{len(claims)} differences from {reference} are significant"
    return Statement(f"{text} ({tests}):", [*map(str, claims)])


def _hints_text(hints: int, tests: int, further: bool) -> str:
    """Return the sentence before the hints. `further`: whether there are claims."""
    count = f"{hints} {'more ' if further else ''}difference{'' if hints == 1 else 's'}"
    are, they = ("is", "it is only a hint") if hints == 1 else ("are", "they are only hints")
    return (
        f"Without the correction {count} {are} significant; among {tests} comparisons chance "
        f"alone gives {LEVEL * tests:.1f} on average, so {they}:"
    )


def _differences(
    rows: Sequence[RunRow], columns: Sequence[Column], others: Sequence[str], reference: str
) -> list[Difference]:
    """Return the differences of the other methods from the reference, column by column."""
    found = []
    tested = []
    for column in columns:
        values = values_by_seed(rows, column)
        for name in others:
            # A near set has a column of the own score and one of MPS, which may be the same.
            test = (column.source, name, values[name], values[reference])
            if column.source and test in tested:
                continue
            tested.append(test)
            found.append(_difference(name, column, values[name], values[reference]))
    return [difference for difference in found if difference]


def _difference(
    method: str, column: Column, values: Mapping[Any, float], reference: Mapping[Any, float]
) -> Difference | None:
    """Return the difference over common seeds; None with fewer than two of them."""
    found = compare(values, reference)
    if not found or not found.pairs:
        return None
    mean, _, low, high, p = found.difference
    return Difference(method, column, found.pairs, mean, low, high, p)


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences that are significant after Holm's correction, in the given order."""
    p_values = holm([difference.p for difference in differences])
    return [each for each, p in zip(differences, p_values, strict=True) if p < LEVEL]
