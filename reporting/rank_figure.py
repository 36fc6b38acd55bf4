"""Draws the critical-difference diagram of a ranking (Demšar 2006, figure 1)."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .ranking import Ranking
from .style import INK, LINE, STYLE

BAR = 0.25  # between two bars, in heights of a line of text


def joined(found: Ranking) -> list[tuple[float, float]]:
    """Return the first and the last mean rank of each group of methods that are not told apart.

    Groups that lie in a larger one are left out. If Friedman's test finds no difference, all
    methods are one group.
    """
    means = [*found.mean_ranks.values()]
    if not found.tells_apart:
        return [(means[0], means[-1])]
    groups: list[tuple[float, float]] = []
    for first in means:
        last = max(mean for mean in means if mean - first < found.critical_difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


@mpl.rc_context(STYLE | {"axes.grid": False})
def rank_figure(found: Ranking) -> Figure:
    """Draw each method at its mean rank; a bar joins methods that are not told apart."""
    count, groups = len(found.mean_ranks), joined(found)
    bars = BAR * (len(groups) + 1)
    height = bars + (count + 1) // 2
    figure = Figure(figsize=(6.5, 0.7 + 0.22 * height), layout="constrained")
    axes = figure.subplots()
    axes.set(
        xlim=(0.9, count + 0.1), ylim=(-height, 0), xlabel="mean rank over OOD sets, 1 is best"
    )
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    axes.set_xticks(range(1, count + 1))
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.set_yticks([])
    for number, ends in enumerate(groups, 1):
        axes.plot(ends, [-BAR * number] * 2, color=INK, linewidth=3, solid_capstyle="round")
    _names(axes, found, bars)
    return figure


def _names(axes: Axes, found: Ranking, top: float) -> None:
    """Write the better half of the methods to the left, the others to the right."""
    methods = [*found.mean_ranks.items()]
    better = (len(methods) + 1) // 2
    for place, (method, rank) in enumerate(methods):
        left = place < better
        line = place if left else len(methods) - 1 - place
        edge, level = axes.get_xlim()[0 if left else 1], -top - line - 0.4
        axes.plot([rank, rank, edge], [0, level, level], color=LINE, linewidth=1, zorder=0)
        axes.annotate(
            f"{method}  {rank:.2f}" if left else f"{rank:.2f}  {method}",
            (edge, level),
            (-4 if left else 4, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
        )
