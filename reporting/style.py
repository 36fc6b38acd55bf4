"""The style of all figures: sizes, colours, panels, legends.

A method has the same colour in all figures.
"""

from collections.abc import Iterable, Mapping
from itertools import cycle, product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
WIDTH = 9.5  # inches of a figure; all are equally wide, so that their text is equally large
PANELS = 4  # panels side by side
TALLEST = 3.4  # inches of a panel
Looks = Mapping[str, Mapping[str, Any]]  # method → its colour and line style


def looks(methods: Iterable[str]) -> Looks:
    """Return a colour and a line style for each method."""
    pairs = cycle(product(("-", "--", ":"), COLOURS))
    return {
        method: {"color": colour, "linestyle": line}
        for method, (line, colour) in zip(methods, pairs, strict=False)
    }


def panels(count: int, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels in rows of four, which are about square.

    With fewer than three panels in a row they are wider than tall.
    """
    columns = min(count, PANELS)
    rows = -(-count // columns)
    height = min(1.1 * WIDTH / columns, TALLEST)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def mean_and_range(axes: Axes, x: NDArray, curves: NDArray, method: str, look: Looks) -> None:
    """Draw the mean of a method's curves [runs, points], and the range from lowest to highest."""
    axes.plot(x, curves.mean(0), linewidth=1.3, label=method, **look[method])
    axes.fill_between(
        x, curves.min(0), curves.max(0), color=look[method]["color"], alpha=0.15, linewidth=0
    )


def legend(figure: Figure, axes: Axes, count: int) -> None:
    """Draw a legend of `count` methods below the panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(count, PANELS))
