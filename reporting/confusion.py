"""Which classes a method takes for which others: tables of the test images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .outcomes import Methods
from .table import Table

MATRIX_CLASSES = 20  # with more, a matrix cannot be read: the largest confusions are listed
LISTED = 20  # confusions of the list


def confusion_tables(methods: Methods, names: Sequence[str]) -> list[Table]:
    """Return each method's confusion matrix, or its largest confusions if classes are many.

    Args:
        methods: each method's outcomes.
        names: the classes' names; () for their numbers.
    """
    tables = []
    for method, runs in methods.items():
        counts = np.sum([run.confusion for run in runs], axis=0)
        # A run of other data than those on this machine may have other classes.
        known = names if len(names) == len(counts) else range(len(counts))
        labels = [*map(str, known)]
        few = len(counts) <= MATRIX_CLASSES
        title = f"{method} (n={len(runs)})"
        tables.append(
            _matrix(title, counts, labels) if few else _largest(title, counts, labels, len(runs))
        )
    return tables


def _matrix(title: str, counts: NDArray, names: Sequence[str]) -> Table:
    """Return the shares of each class's images in percent; a row a class, a column an answer."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows = [
        [name, *(f"{share:.1f}" if share else "0" for share in row)]
        for name, row in zip(names, shares, strict=True)
    ]
    return Table(title, ["class", *names], rows, matrix=True)


def _largest(title: str, counts: NDArray, names: Sequence[str], runs: int) -> Table:
    """Return the most frequent confusions, each with its share of the class's images."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    pairs = [divmod(int(place), len(counts)) for place in order if wrong.flat[place]]
    rows = [
        [
            names[is_class],
            names[taken],
            f"{wrong[is_class, taken] / runs:.1f}",
            f"{100 * wrong[is_class, taken] / counts[is_class].sum():.1f}",
        ]
        for is_class, taken in pairs
    ]
    return Table(title, ["class", "taken for", "images a run", "% of the class"], rows)
