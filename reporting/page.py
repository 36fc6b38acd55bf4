"""Puts tables, figures and images into one HTML page that needs nothing else."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from utils import records
from utils.aggregation import Efficiencies, detail_tables, group_of, main_table, method_of
from utils.groups import HEADS, group_rows
from utils.tables import number

from . import figures
from .curves import operating_point
from .examples import Strip
from .outcomes import Outcome

RATES = (0.9, 0.95, 0.99)  # true-positive rates of the operating points
VARIABLES = {figures.INK: "var(--ink)", figures.LINE: "var(--line)", figures.FAINT: "var(--faint)"}  # of the page's style


@dataclass(frozen=True)
class Table:
    """Heads and rows of text; a row that begins with a dot belongs to the one above it."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def bodies(self) -> list[list[Sequence[str]]]:
        """The rows that stay together when the table is sorted."""
        bodies: list[list[Sequence[str]]] = []
        for row in self.rows:
            if row[0].startswith("·") and bodies:
                bodies[-1].append(row)
            else:
                bodies.append([row])
        return bodies


@dataclass
class Picture:
    """A figure, its file's name, and what is said of it."""

    name: str
    title: str
    caption: str
    figure: Figure
    svg: Markup = field(default_factory=Markup)

    @classmethod
    def all_of(cls, methods: Mapping[str, Sequence[Outcome]], histories: Mapping[str, Any]) -> Iterator[Picture]:
        """The figures for which there is something to draw."""
        if methods:
            yield cls(
                "reliability",
                "Reliability before and after calibration",
                "All runs' test images together, in the ECE's 15 bins; a point's area is its bin's share of the images. On the "
                "diagonal probabilities are right, above it the network knows more than it says. ECE: mean of the runs.",
                figures.reliability_diagrams(methods),
            )
            yield cls(
                "scores",
                "Scores of test and OOD images",
                "Each method's first run. Grey: test images; colour: the set named above the column. Dotted: the threshold that "
                "accepts 95 % of the images which fitted the temperature; what lies right of it is accepted.",
                figures.score_histograms(methods),
            )
            yield cls(
                "roc",
                "ROC curves",
                "Each method's own score: the mean of its runs' curves, and the range from the lowest to the highest. Dotted: 95 % "
                "of the test images accepted.",
                figures.roc_curves(methods),
            )
        if histories:
            yield cls(
                "training",
                "Training",
                "The mean of the runs, and the range from the lowest to the highest. With FPR the training accuracy is that of the "
                "half that was not mixed.",
                figures.training_curves(histories),
            )


@dataclass
class Section:
    """What the page says of one group of runs."""

    anchor: str
    title: str
    how: str
    table: Table
    means: Table | None  # over the near and the far sets
    details: dict[str, Table]
    pictures: list[Picture] = field(default_factory=list)
    points: Table | None = None
    examples: dict[str, list[Strip]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def operating_points(self, methods: Mapping[str, Sequence[Outcome]]) -> None:
        """Fill in what is accepted at chosen rates."""
        found = next(iter(methods.values()))[0].record["detection"]
        heads = ["method", "TPR chosen %", "test accepted %", *(f"{each['title']} accepted %" for each in found.values())]
        rows = []
        for method, runs in methods.items():
            for rate in RATES:
                points = [operating_point(run.deciding, run.scores, rate) for run in runs]
                values = [[100 * point[name] for point in points] for name in ("test", *found)]
                rows.append([f"{method} (n={len(runs)})", f"{100 * rate:.0f}", *map(_spread, values)])
        self.points = Table(heads, rows)


def _spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    return number(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else float("nan"), "")


def tables_of(place: int, members: list[dict[str, Any]], measured: Efficiencies) -> Section:
    """A group's section with its tables alone."""
    data, data_title, network, how = group_of(members[0])[:4]
    details = {title: Table(heads, rows) for title, heads, rows in detail_tables(members)}
    table = Table(*main_table(members, data, network, measured))
    rows = group_rows((method_of(run), run) for run in members)
    means = Table(HEADS, rows) if rows else None
    return Section(f"part{place}", f"{data_title}, {network}", how, table, means, details)


def save_figure(picture: Picture, prefix: Path) -> Picture:
    """Write a figure as PREFIX-NAME.png and .pdf, and keep it as SVG in the page's colours."""
    with mpl.rc_context(figures.STYLE | {"svg.hashsalt": f"{prefix.name}-{picture.name}"}):
        for suffix, options in (("png", {"dpi": 200}), ("pdf", {"metadata": {"CreationDate": None}})):
            with records.whole_file(prefix.with_name(f"{prefix.name}-{picture.name}.{suffix}")) as path:
                picture.figure.savefig(path, format=suffix, facecolor="white", **options)
        text = io.StringIO()
        picture.figure.savefig(text, format="svg", facecolor="none", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{picture.title}" ', 1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    picture.svg = Markup(svg)
    return picture


def render(sections: Sequence[Section]) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(sections=sections)
