"""Ranks of methods over out-of-distribution sets, with Friedman's test and Nemenyi's difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .columns import RunRow
from .numbers import p_text
from .paper import in_the_papers_order
from .statistics import LEVEL, critical_difference, friedman, ranks
from .table import Table

DEPENDENT = "Sets that the same networks score are not independent, so p may be too small."


@dataclass(frozen=True)
class Ranking:
    """The mean rank of each method over the blocks, the best first."""

    mean_ranks: dict[str, float]  # 1 is the best
    blocks: int  # pairs of a table and an OOD set
    p: float  # of Friedman's test
    critical_difference: float  # of mean ranks, at 5 %
    left_out: list[str]  # methods that are not in every table

    @property
    def tells_apart(self) -> bool:
        """Whether Friedman's test finds a difference. Without it Nemenyi's is not used."""
        return self.p < LEVEL

    @property
    def notes(self) -> list[str]:
        """What the ranks mean, in sentences."""
        said = (
            f"Two methods whose mean ranks differ by less than {self.critical_difference:.2f} are "
            "not told apart (Nemenyi's critical difference at 5 %)."
            if self.tells_apart
            else "So the ranks tell no methods apart."
        )
        notes = [
            f"Ranks by the mean AUROC of the own score, over {self.blocks} OOD sets. Friedman's "
            f"test: p = {p_text(self.p)}. {said} {DEPENDENT}"
        ]
        if self.left_out:
            notes.append(f"Not in every table, so not ranked: {', '.join(self.left_out)}.")
        return notes


def ranking(tables: Sequence[Sequence[RunRow]]) -> Ranking | str:
    """Return the ranking of the methods that every table has, or the reason why there is none.

    A block is an OOD set of one table. Its numbers are the methods' mean AUROC over their runs.

    Args:
        tables: the rows of the runs of each table.
    """
    tables = [rows for rows in tables if rows]
    methods = in_the_papers_order(row.method for rows in tables for row in rows)
    common = [method for method in methods if all(_mean_of(rows, method) for rows in tables)]
    blocks = [
        [_mean_of(rows, method)[source] for method in common]
        for rows in tables
        for source in rows[0].record["detection"]
    ]
    if len(common) < 3 or len(blocks) < 2:
        return (
            f"No ranks: they need three methods that every table has, and two OOD sets. Here are "
            f"{len(common)} and {len(blocks)}."
        )
    means = dict(zip(common, ranks(blocks).mean(0).tolist(), strict=True))
    return Ranking(
        dict(sorted(means.items(), key=lambda item: item[1])),
        len(blocks),
        friedman(blocks),
        critical_difference(len(common), len(blocks)),
        [method for method in methods if method not in common],
    )


def ranking_table(found: Ranking | str) -> Table:
    """Return the table of a ranking, or only the reason why there is none."""
    title, heads = "Ranks over OOD sets", ["method", "mean rank"]
    if isinstance(found, str):
        return Table(title, heads, [], [found])
    rows = [[method, f"{rank:.2f}"] for method, rank in found.mean_ranks.items()]
    return Table(title, heads, rows, found.notes)


def _mean_of(rows: Sequence[RunRow], method: str) -> dict[str, float]:
    """Return a method's mean AUROC over its runs on each OOD set of a table; {} without runs."""
    own = [row.own for row in rows if row.method == method]
    sources = own[0] if own else {}
    return {source: float(np.mean([sets[source]["auroc"] for sets in own])) for source in sources}
