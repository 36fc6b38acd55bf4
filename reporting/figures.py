"""The figures, from the outcomes of each method's runs. Colours stand for methods throughout."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from utils.files import whole_file
from utils.metrics import threshold_at

from .curves import receiver_operating, reliability
from .outcomes import Outcome

INK, LINE, FAINT = "#1b1f24", "#c9ced6", "#8b939e"  # text, axes, and what is compared with
# In their place in a page.
VARIABLES = {INK: "var(--ink)", LINE: "var(--line)", FAINT: "var(--faint)"}
# Apart from each other in the usual colour blindnesses, and readable on white and on black.
COLOURS = ("#3b7dd8", "#e07b00", "#2a9d5c", "#c2459a", "#8a6fd1", "#b8860b", "#00a0a8", "#d1495b")
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.edgecolor": LINE,
}
STYLE |= {
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
STYLE |= {
    "axes.grid": True,
    "grid.color": LINE,
    "grid.alpha": 0.5,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
}
STYLE |= {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "legend.labelcolor": INK,
    "axes.titlelocation": "left",
}
COLUMNS = 4  # panels side by side
Methods = Mapping[str, Sequence[Outcome]]
History = list[dict[str, float]]  # an entry an epoch
Looks = Mapping[str, Mapping[str, Any]]  # method → its colour and kind of line


@dataclass(frozen=True)
class Picture:
    """A figure as SVG in a page's colours, and what is said of it."""

    title: str
    caption: str
    svg: Markup


def looks(methods: Iterable[str]) -> Looks:
    """Each method's colour and kind of line."""
    pairs = cycle(product(("-", "--", ":"), COLOURS))
    return {
        method: {"color": colour, "linestyle": line}
        for method, (line, colour) in zip(methods, pairs, strict=False)
    }


# A figure's name → its title, and what is said below it.
SAID = {
    "reliability": (
        "Reliability before and after calibration",
        "All runs' test images together, in the ECE's 15 bins; a point grows with its bin's share "
        "of the images, and bins "
        "of fewer than one in a thousand are left out. On the diagonal probabilities are right, "
        "above it the network "
        "knows more than it says. ECE: mean of the runs.",
    ),
    "scores": (
        "Scores of test and OOD images",
        "Each method's first run. Grey: test images; colour: the set named above the column; the "
        "outermost 0.2 % on each "
        "side lie in the first and last bar. Dotted: the threshold that accepts 95 % of the "
        "images which fitted the "
        "temperature; what lies right of it is accepted.",
    ),
    "roc": (
        "ROC curves",
        "Each method's own score: the mean of its runs' curves, and the range from the lowest to "
        "the highest. Dotted: 95 "
        "% of the test images accepted.",
    ),
    "training": (
        "Training",
        "The mean of the runs, and the range from the lowest to the highest. With FPR the "
        "training accuracy is that of "
        "the half that was not mixed.",
    ),
}


def pictures(
    methods: Methods, histories: Mapping[str, Sequence[History]], look: Looks, prefix: Path
) -> list[Picture]:
    """The figures for which there is something to draw, written as PREFIX-NAME.png and .pdf on the
    way.
    """
    drawn = {}
    if methods:
        drawn = {
            "reliability": reliability_diagrams(methods, look),
            "scores": score_histograms(methods, look),
        }
        drawn |= {"roc": roc_curves(methods, look)}
    if histories:
        drawn |= {"training": training_curves(histories, look)}
    return [Picture(*SAID[name], _save(figure, prefix, name)) for name, figure in drawn.items()]


def _save(figure: Figure, prefix: Path, name: str) -> Markup:
    """Write a figure as PNG and PDF; the same as SVG, whose colours are the page's variables."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": f"{prefix.name}-{name}"}):
        for suffix, options in (
            ("png", {"dpi": 200}),
            ("pdf", {"metadata": {"CreationDate": None}}),
        ):
            # In memory first: a full disk then is an error of this program's own writing.
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix, facecolor="white", **options)
            with whole_file(prefix.with_name(f"{prefix.name}-{name}.{suffix}")) as path:
                path.write_bytes(drawn.getbuffer())
        text = io.StringIO()
        figure.savefig(text, format="svg", facecolor="none", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(
        "<svg ", f'<svg role="img" aria-label="{SAID[name][0]}" ', 1
    )
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return Markup(svg)


def _panels(count: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, in rows of four."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def titles(methods: Methods) -> dict[str, str]:
    """The out-of-distribution sets' titles by source; all runs have the same."""
    return {
        source: found["title"]
        for source, found in next(iter(methods.values()))[0].record["detection"].items()
    }


def _band(axes: Axes, x: NDArray, curves: NDArray, method: str, look: Looks) -> None:
    """The mean of a method's curves [runs, points], within the least and the largest of them."""
    axes.plot(x, curves.mean(0), linewidth=1.3, label=method, **look[method])
    axes.fill_between(
        x, curves.min(0), curves.max(0), color=look[method]["color"], alpha=0.15, linewidth=0
    )


def _legend(figure: Figure, axes: Axes, count: int) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(count, COLUMNS)
    )


@mpl.rc_context(STYLE)
def reliability_diagrams(methods: Methods, look: Looks) -> Figure:
    """A panel a method, all its runs' test images together: accuracy over confidence, before and
    after calibration.
    """
    figure, panels = _panels(len(methods), 2.3, 2.6, sharex=True, sharey=True)
    for axes, (method, runs) in zip(panels, methods.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        correct, errors = np.concatenate([run.correct for run in runs]), []
        for at, label, colour in (
            ("t1", "T = 1", FAINT),
            ("calibrated", "calibrated", look[method]["color"]),
        ):
            confidence, accuracy, share = reliability(
                np.concatenate([run.confidences[at] for run in runs]), correct
            )
            shown = share >= 0.001
            axes.plot(
                confidence[shown],
                accuracy[shown],
                color=colour,
                linewidth=1,
                label=label,
                clip_on=False,
            )
            axes.scatter(
                confidence[shown],
                accuracy[shown],
                s=4 + 60 * share[shown],
                color=colour,
                clip_on=False,
            )
            errors.append(np.mean([run.ece[at] for run in runs]))
        axes.set_title(f"{method}\nECE {errors[0]:.3f} → {errors[1]:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.legend(loc="lower right", fontsize=7, handlelength=1)
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    return figure


@mpl.rc_context(STYLE)
def score_histograms(methods: Methods, look: Looks) -> Figure:
    """A row a method and a column a set: the scores of the first run's test images, and of the
    set's.
    """
    sets = titles(methods)
    figure = Figure(
        figsize=(2.3 * max(2, len(sets)), 1.5 * len(methods) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(methods), len(sets), squeeze=False)
    for axes, title in zip(grid[0], sets.values(), strict=True):
        axes.set_title(title)
    for row, (method, runs) in zip(grid, methods.items(), strict=True):
        run = runs[0]
        threshold = threshold_at(run.deciding, 0.95)
        for axes, source in zip(row, sets, strict=True):
            both = np.concatenate([run.scores["test"], run.scores[source]])
            edges = np.linspace(*np.quantile(both, (0.002, 0.998)), 50)
            for values, colour in (
                (run.scores["test"], FAINT),
                (run.scores[source], look[method]["color"]),
            ):
                clipped = np.clip(values, edges[0], edges[-1])
                weights = np.full(len(values), 1 / len(values))
                axes.hist(
                    clipped, edges, weights=weights, color=colour, alpha=0.6, histtype="stepfilled"
                )
            axes.axvline(threshold, color=INK, linewidth=0.8, linestyle=":")
            axes.set(yticks=[])
            axes.tick_params(labelsize=7)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        row[0].set_ylabel(f"{_folded(method)}\n[{run.record['score']}]", fontsize=8)
    return figure


def _folded(method: str) -> str:
    """A method's name in lines that fit beside a panel."""
    return method.replace(" without", "\nwithout").replace(", ", ",\n")


@mpl.rc_context(STYLE)
def roc_curves(methods: Methods, look: Looks) -> Figure:
    """A panel a set and a line a method: the mean curve of its runs, within the least and the
    largest of them.
    """
    sets = titles(methods)
    figure, panels = _panels(len(sets), 2.5, 2.5, sharey=True)
    rates = np.linspace(0, 1, 201) ** 2  # closer where curves bend
    for axes, (source, title) in zip(panels, sets.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        axes.axhline(0.95, color=LINE, linewidth=1, linestyle=":")
        for method, runs in methods.items():
            curves = np.stack(
                [receiver_operating(run.scores["test"], run.scores[source], rates) for run in runs]
            )
            _band(axes, rates, curves, method, look)
        axes.set(xlim=(0, 1), ylim=(0, 1), title=title, xlabel="OOD images accepted")
    panels[0].set_ylabel("test images accepted")
    _legend(figure, panels[0], len(methods))
    return figure


@mpl.rc_context(STYLE)
def training_curves(histories: Mapping[str, Sequence[History]], look: Looks) -> Figure:
    """Accuracy over epochs, of training images and of those that decide: each method's mean, within
    its least and largest.
    """
    _, deciding = next(iter(histories.values()))[0][0]
    figure, panels = _panels(2, 4.2, 2.8, sharex=True, sharey=True)
    for axes, key in zip(panels, ("train_accuracy", deciding), strict=True):
        for method, runs in histories.items():
            values = np.array([[epoch[key] for epoch in run] for run in runs])
            _band(axes, np.arange(1, values.shape[1] + 1), values, method, look)
        split = {"train_accuracy": "training images"}.get(
            key, f"{key.removesuffix('_accuracy')} images"
        )
        axes.set(title=f"accuracy, {split}", xlabel="epoch")
    _legend(figure, panels[0], len(histories))
    return figure
