"""Draws the histograms of scores: test images against the images of each OOD set."""

import textwrap

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.special import logit

from .curves import threshold
from .outcomes import Methods, titles
from .style import FAINT, INK, STYLE, WIDTH, Looks

BARS = 50
NARROWEST = 1.9  # inches of a panel; with more sets than fit beside each other it grows wider
# Probabilities closer to 0 or 1 than this lie in the outermost bars.
CLOSEST = 1e-9
MARKS = 5  # marks on an axis of log-odds, at most
# Where an axis of log-odds may have marks: 0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, ...
NINES = tuple(range(1, 10))
PROBABILITIES = (
    *((10.0**-k, f"{10.0**-k:.{k}f}") for k in reversed(NINES)),
    (0.5, "0.5"),
    *((1 - 10.0**-k, f"{1 - 10.0**-k:.{k}f}" if k < 6 else f"1-1e-{k}") for k in NINES),
)


@mpl.rc_context(STYLE)
def score_histograms(methods: Methods, look: Looks) -> Figure:
    """Draw the scores of the first run's test and OOD images; a row a method, a column a set.

    Scores that all lie in [0, 1], such as the maximum probability, are drawn over their log-odds:
    most of them are so close to 1 that they would be a single bar.
    """
    sets = titles(methods)
    figure = Figure(
        figsize=(max(WIDTH, NARROWEST * len(sets)), 1.6 * len(methods) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(methods), len(sets), squeeze=False)
    for axes, title in zip(grid[0], sets.values(), strict=True):
        axes.set_title(title)
    for row, (method, runs) in zip(grid, methods.items(), strict=True):
        run = runs[0]
        in_unit = all(values.min() >= 0 and values.max() <= 1 for values in run.scores.values())
        place = _log_odds if in_unit else np.asarray
        lowest = place(threshold(run.calibration_scores, 0.95))
        for axes, source in zip(row, sets, strict=True):
            axes.set(yticks=[])
            axes.tick_params(labelsize=7)
            inside, outside = place(run.scores["test"]), place(run.scores[source])
            _histograms(axes, inside, outside, look[method]["color"])
            axes.axvline(lowest, color=INK, linewidth=0.8, linestyle=":")
            if in_unit:
                _mark_probabilities(axes)
            else:
                axes.xaxis.set_major_locator(MaxNLocator(4))
        scale = ", log-odds" if in_unit else ""
        row[0].set_ylabel(f"{_in_lines(method)}\n[{run.record['score']}{scale}]", fontsize=8)
    return figure


def _log_odds(probabilities: NDArray | float) -> NDArray:
    """Return log(p / (1 - p)), with p kept `CLOSEST` away from 0 and 1."""
    return logit(np.clip(probabilities, CLOSEST, 1 - CLOSEST))


def _mark_probabilities(axes: Axes) -> None:
    """Mark probabilities on an axis of log-odds, at most `MARKS` evenly chosen ones."""
    low, high = axes.get_xlim()
    inside = [(float(logit(p)), text) for p, text in PROBABILITIES if low <= logit(p) <= high]
    step = -(-len(inside) // MARKS) or 1
    chosen = inside[::-1][::step][::-1]
    axes.set_xticks([place for place, _ in chosen], [text for _, text in chosen])


def _histograms(axes: Axes, inside: NDArray, outside: NDArray, colour: str) -> None:
    """Draw the shares of the scores of two sets; the outermost 0.2 % go into the last bars."""
    low, high = np.quantile(np.concatenate([inside, outside]), (0.002, 0.998))
    edges = np.linspace(low, high, BARS + 1).tolist()
    for values, fill in ((inside, FAINT), (outside, colour)):
        clipped = np.clip(values, edges[0], edges[-1])
        weights = np.full(len(values), 1 / len(values))
        axes.hist(clipped, edges, weights=weights, color=fill, alpha=0.6, histtype="stepfilled")


def _in_lines(method: str) -> str:
    """Return a method's name in lines that fit beside a panel."""
    return textwrap.fill(method, 18)
