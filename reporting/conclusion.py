"""What the numbers of a table carry: differences from one method, paired over common seeds."""

from collections.abc import Sequence
from typing import NamedTuple

from .columns import Column, RunRow, columns_of, values_by_seed
from .comparisons import reference_of
from .paper import in_the_papers_order
from .seeds import Comparison, compare
from .statistics import LEVEL, holm


class Statement(NamedTuple):
    """A sentence, and the differences that it announces."""

    text: str
    differences: Sequence[str] = ()


class Finding(NamedTuple):
    """A method's paired difference from the reference in one column."""

    method: str
    column: Column
    comparison: Comparison

    @property
    def p(self) -> float:
        """The p-value of its paired t test."""
        return self.comparison.difference.p

    def __str__(self) -> str:
        mean, low, high, _ = self.comparison.difference
        better = (mean < 0) == self.column.lower_is_better
        title, digits = self.column.title, self.column.digits
        unit = " points" if title.endswith("%") else ""
        return (
            f"{self.method} is {'better' if better else 'worse'} in {title.removesuffix(' %')}: "
            f"{mean:+.{digits}f}{unit} (95 % interval {low:+.{digits}f} to {high:+.{digits}f})"
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
    reference: str, differences: Sequence[Finding], claims: Sequence[Finding]
) -> Statement:
    """Return the statement on the differences that are significant after correction."""
    pairs = sorted({each.comparison.pairs for each in differences})
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
) -> list[Finding]:
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
            comparison = compare(values[name], values[reference])
            if comparison and comparison.pairs:
                found.append(Finding(name, column, comparison))
    return found


def corrected(differences: Sequence[Finding]) -> list[Finding]:
    """Return the differences that are significant after Holm's correction, in the given order."""
    p_values = holm([difference.p for difference in differences])
    return [each for each, p in zip(differences, p_values, strict=True) if p < LEVEL]
