"""Draws curves and reliability diagrams, from the outcomes of each method's runs."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .curves import reliability, risk, roc
from .outcomes import Methods, titles
from .style import FAINT, LINE, STYLE, Looks, legend, mean_and_range, panels

History = list[dict[str, float]]  # an entry for each epoch


@mpl.rc_context(STYLE)
def reliability_diagrams(methods: Methods, look: Looks) -> Figure:
    """Draw accuracy over confidence before and after calibration, a panel for each method.

    The test images of all runs count together.
    """
    figure, grid = panels(len(methods), sharex=True, sharey=True)
    for axes, (method, runs) in zip(grid, methods.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        correct = np.concatenate([run.correct for run in runs])
        for at, label, colour in (
            ("t1", "T = 1", FAINT),
            ("calibrated", "calibrated", look[method]["color"]),
        ):
            confidences = np.concatenate([run.confidences[at]["test"] for run in runs])
            _reliability_line(axes, *reliability(confidences, correct), label, colour)
        before, after = (np.mean([run.ece[at] for run in runs]) for at in ("t1", "calibrated"))
        axes.set_title(f"{method}\nECE {before:.3f} → {after:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1))
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
def roc_curves(methods: Methods, look: Looks) -> Figure:
    """Draw ROC curves, a panel for each set: each method's mean, and the range of its runs."""
    sets = titles(methods)
    figure, grid = panels(len(sets), sharey=True)
    rates = np.linspace(0, 1, 201) ** 2  # closer where curves bend
    for axes, (source, title) in zip(grid, sets.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        axes.axhline(0.95, color=LINE, linewidth=1, linestyle=":")
        for method, runs in methods.items():
            curves = [roc(run.scores["test"], run.scores[source], rates) for run in runs]
            mean_and_range(axes, rates, np.stack(curves), method, look)
        axes.set(xlim=(0, 1), ylim=(0, 1), title=title, xlabel="OOD images accepted")
    grid[0].set_ylabel("test images accepted")
    legend(figure, grid[0], len(methods))
    return figure


@mpl.rc_context(STYLE)
def risk_coverage_curves(methods: Methods, look: Looks) -> Figure:
    """Draw the risk over the coverage: each method's mean, and the range of its runs.

    The failures of the first panel are the wrong answers to test images. The other panels add an
    out-of-distribution set each.
    """
    failures = {"": "wrong answers"}
    failures |= {source: f"wrong answers\nand {title}" for source, title in titles(methods).items()}
    figure, grid = panels(len(failures))
    coverages = np.linspace(0, 1, 201)[1:]
    for axes, (source, title) in zip(grid, failures.items(), strict=True):
        for method, runs in methods.items():
            curves = [
                risk(
                    run.scores["test"],
                    ~run.correct,
                    run.scores[source] if source else np.empty(0),
                    coverages,
                )
                for run in runs
            ]
            mean_and_range(axes, coverages, np.stack(curves), method, look)
        axes.set(xlim=(0, 1), title=title)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("coverage")
    grid[0].set_ylabel("risk")
    legend(figure, grid[0], len(methods))
    return figure


@mpl.rc_context(STYLE)
def training_curves(histories: Mapping[str, Sequence[History]], look: Looks) -> Figure:
    """Draw accuracy over epochs: of the training images, and of the calibration split.

    Each method's curve is the mean of its runs, with their range.
    """
    first_epoch = next(iter(histories.values()))[0][0]
    figure, grid = panels(2, sharex=True, sharey=True)
    for axes, key in zip(grid, first_epoch, strict=True):
        for method, runs in histories.items():
            values = np.array([[epoch[key] for epoch in run] for run in runs])
            mean_and_range(axes, np.arange(1, values.shape[1] + 1), values, method, look)
        split = key.removesuffix("_accuracy").replace("train", "training")
        axes.set(title=f"accuracy, {split} images", xlabel="epoch")
    legend(figure, grid[0], len(histories))
    return figure
