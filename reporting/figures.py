"""Draws the figures, from the outcomes of each method's runs.

A method has the same colour in all figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, product
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from utils.metrics import threshold_at

from .curves import reliability, roc
from .outcomes import Outcome

INK = "#1b1f24"  # text
LINE = "#c9ced6"  # axes
FAINT = "#8b939e"  # what a method is compared with
# Different from each other for the common colour blindnesses, and readable on white and on black.
COLOURS = ("#3b7dd8", "#e07b00", "#2a9d5c", "#c2459a", "#8a6fd1", "#b8860b", "#00a0a8", "#d1495b")
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": LINE,
    "grid.alpha": 0.5,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
}
PANELS = 4  # panels side by side
Methods = Mapping[str, Sequence[Outcome]]
History = list[dict[str, float]]  # an entry for each epoch
Looks = Mapping[str, Mapping[str, Any]]  # method → its colour and line style


def looks(methods: Iterable[str]) -> Looks:
    """Return a colour and a line style for each method."""
    pairs = cycle(product(("-", "--", ":"), COLOURS))
    return {
        method: {"color": colour, "linestyle": line}
        for method, (line, colour) in zip(methods, pairs, strict=False)
    }


def _panels(count: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels in rows of four; width and height of one in inches."""
    columns = min(count, PANELS)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def titles(methods: Methods) -> dict[str, str]:
    """Return the out-of-distribution sets' titles by source, which all runs share."""
    first = next(iter(methods.values()))[0]
    return {source: entry["title"] for source, entry in first.record["detection"].items()}


def _mean_and_range(axes: Axes, x: NDArray, curves: NDArray, method: str, look: Looks) -> None:
    """Draw the mean of a method's curves [runs, points], and the range from lowest to highest."""
    axes.plot(x, curves.mean(0), linewidth=1.3, label=method, **look[method])
    axes.fill_between(
        x, curves.min(0), curves.max(0), color=look[method]["color"], alpha=0.15, linewidth=0
    )


def _legend(figure: Figure, axes: Axes, count: int) -> None:
    """Draw a legend of `count` methods below the panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(count, PANELS))


@mpl.rc_context(STYLE)
def reliability_diagrams(methods: Methods, look: Looks) -> Figure:
    """Draw accuracy over confidence before and after calibration, a panel for each method.

    The test images of all runs count together.
    """
    figure, panels = _panels(len(methods), 2.3, 2.6, sharex=True, sharey=True)
    for axes, (method, runs) in zip(panels, methods.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        correct = np.concatenate([run.correct for run in runs])
        for at, label, colour in (
            ("t1", "T = 1", FAINT),
            ("calibrated", "calibrated", look[method]["color"]),
        ):
            confidences = np.concatenate([run.confidences[at] for run in runs])
            _reliability_line(axes, *reliability(confidences, correct), label, colour)
        before, after = (np.mean([run.ece[at] for run in runs]) for at in ("t1", "calibrated"))
        axes.set_title(f"{method}\nECE {before:.3f} → {after:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.legend(loc="lower right", fontsize=7, handlelength=1)
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    return figure


def _reliability_line(
    axes: Axes, confidence: NDArray, accuracy: NDArray, share: NDArray, label: str, colour: str
) -> None:
    """Draw a line through the bins, with a point in each whose area grows with its share."""
    shown = share >= 0.001
    x, y = confidence[shown], accuracy[shown]
    axes.plot(x, y, color=colour, linewidth=1, label=label, clip_on=False)
    axes.scatter(x, y, s=4 + 60 * share[shown], color=colour, clip_on=False)


@mpl.rc_context(STYLE)
def score_histograms(methods: Methods, look: Looks) -> Figure:
    """Draw the scores of the first run's test and OOD images; a row a method, a column a set."""
    sets = titles(methods)
    figure = Figure(
        figsize=(2.3 * max(2, len(sets)), 1.5 * len(methods) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(methods), len(sets), squeeze=False)
    for axes, title in zip(grid[0], sets.values(), strict=True):
        axes.set_title(title)
    for row, (method, runs) in zip(grid, methods.items(), strict=True):
        run = runs[0]
        threshold = threshold_at(run.calibration_scores, 0.95)
        for axes, source in zip(row, sets, strict=True):
            _histograms(axes, run.scores["test"], run.scores[source], look[method]["color"])
            axes.axvline(threshold, color=INK, linewidth=0.8, linestyle=":")
            axes.set(yticks=[])
            axes.tick_params(labelsize=7)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        row[0].set_ylabel(f"{_in_lines(method)}\n[{run.record['score']}]", fontsize=8)
    return figure


def _histograms(axes: Axes, inside: NDArray, outside: NDArray, colour: str) -> None:
    """Draw the shares of the scores of two sets; the outermost 0.2 % go into the last bars."""
    low, high = np.quantile(np.concatenate([inside, outside]), (0.002, 0.998))
    edges = np.linspace(low, high, 50).tolist()
    for values, fill in ((inside, FAINT), (outside, colour)):
        clipped = np.clip(values, edges[0], edges[-1])
        weights = np.full(len(values), 1 / len(values))
        axes.hist(clipped, edges, weights=weights, color=fill, alpha=0.6, histtype="stepfilled")


def _in_lines(method: str) -> str:
    """Return a method's name in lines that fit beside a panel."""
    return method.replace(" without", "\nwithout").replace(", ", ",\n")


@mpl.rc_context(STYLE)
def roc_curves(methods: Methods, look: Looks) -> Figure:
    """Draw ROC curves, a panel for each set: each method's mean, and the range of its runs."""
    sets = titles(methods)
    figure, panels = _panels(len(sets), 2.5, 2.5, sharey=True)
    rates = np.linspace(0, 1, 201) ** 2  # closer where curves bend
    for axes, (source, title) in zip(panels, sets.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        axes.axhline(0.95, color=LINE, linewidth=1, linestyle=":")
        for method, runs in methods.items():
            curves = [roc(run.scores["test"], run.scores[source], rates) for run in runs]
            _mean_and_range(axes, rates, np.stack(curves), method, look)
        axes.set(xlim=(0, 1), ylim=(0, 1), title=title, xlabel="OOD images accepted")
    panels[0].set_ylabel("test images accepted")
    _legend(figure, panels[0], len(methods))
    return figure


@mpl.rc_context(STYLE)
def training_curves(histories: Mapping[str, Sequence[History]], look: Looks) -> Figure:
    """Draw accuracy over epochs: of the training images, and of the calibration split.

    Each method's curve is the mean of its runs, with their range.
    """
    first_epoch = next(iter(histories.values()))[0][0]
    figure, panels = _panels(2, 4.2, 2.8, sharex=True, sharey=True)
    for axes, key in zip(panels, first_epoch, strict=True):
        for method, runs in histories.items():
            values = np.array([[epoch[key] for epoch in run] for run in runs])
            _mean_and_range(axes, np.arange(1, values.shape[1] + 1), values, method, look)
        split = key.removesuffix("_accuracy").replace("train", "training")
        axes.set(title=f"accuracy, {split} images", xlabel="epoch")
    _legend(figure, panels[0], len(histories))
    return figure
