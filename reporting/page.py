"""Puts tables, figures and images into one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from .bold import RULES
from .conclusion import Statement
from .curves import operating_point
from .examples import Strip
from .glossary import GLOSSARY
from .html_table import bodies, csv_url, file_name
from .numbers import mean_cell
from .outcomes import Methods, titles
from .pictures import Picture
from .table import BEST, Table

RATES = (0.9, 0.95, 0.99)  # true-positive rates of the operating points


@dataclass(frozen=True)
class Section:
    """The page's section on one group of runs."""

    anchor: str
    title: str
    how: str
    conclusion: Sequence[Statement]
    table: Table
    means: Table  # over the near and the far sets
    comparison: Table  # differences from one method
    details: Sequence[Table]
    pictures: Sequence[Picture]
    points: Table | None
    confusions: Sequence[Table]  # one for each method
    examples: Mapping[str, Sequence[Strip]]
    notes: Sequence[str]


def operating_points(methods: Methods) -> Table:
    """Return the table of what each method accepts at the rates of `RATES`."""
    sets = {"test": "test"} | titles(methods)
    heads = ["method", "TPR chosen %", *(f"{title} accepted %" for title in sets.values())]
    rows = []
    for method, runs in methods.items():
        for rate in RATES:
            points = [operating_point(run.calibration_scores, run.scores, rate) for run in runs]
            columns = [[100 * point[name] for point in points] for name in sets]
            cells = [mean_cell(column) for column in columns]
            rows.append([f"{method} (n={len(runs)})", f"{100 * rate:.0f}", *cells])
    return Table("Operating points", heads, rows)


def render(
    sections: Sequence[Section],
    origin: Mapping[str, str],
    bold: str,
    ranks: Table,
    rank_picture: Picture | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        sections: one for each group of runs.
        origin: what the head says about the report, by label.
        bold: the rule of bold numbers that the page states, a key of `bold.RULES`.
        ranks: of the methods over the sets of all sections.
        rank_picture: their diagram.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html").render(
        sections=sections,
        origin=origin,
        glossary=GLOSSARY,
        best=BEST,
        bodies=bodies,
        csv_url=csv_url,
        file_name=file_name,
        shade=_shade,
        rule=RULES[bold],
        ranks=ranks,
        rank_picture=rank_picture,
    )


def _shade(percentage: str, right: bool) -> int:
    """Return how strongly the cell of a matrix is coloured, in percent.

    It grows with the square root, and faster for wrong answers, so that rare ones can be seen.
    """
    return min(80, round((6 if right else 14) * float(percentage) ** 0.5))
