"""Draws the figure of this study from its records: python -m results.schedule_or_capacity.figure

The panels show accuracy and AUROCs in percent, with MMLES at the fitted temperature. A point is a
run, and a line goes through the means over seeds.
"""

from collections import defaultdict
from pathlib import Path
from statistics import mean

import matplotlib as mpl

from reporting.reading import read_runs
from reporting.style import STYLE, legend, looks, panels

from .values import Record, accuracy, auroc, detector_auroc

FOLDER = Path(__file__).parent
LINES = {"WideResNet-10-2": ("-", "o"), "ResNet-10": (":", "D")}  # line and marker
PANELS = {
    "accuracy": accuracy,
    "SVHN: MMLES": auroc("SVHN-crops", "MMLES"),
    "SVHN: MPS, T = 1": auroc("SVHN-crops", "MPS", "t1"),
    "SVHN: mean distance": detector_auroc("SVHN-crops", "mean_distance"),
    "Scenes: MMLES": auroc("Scenes-32", "MMLES"),
    "Scenes: MPS, T = 1": auroc("Scenes-32", "MPS", "t1"),
    "CIFAR-100: MMLES": auroc("CIFAR-100", "MMLES"),
    "TinyImageNet: MMLES": auroc("TinyImageNet-32", "MMLES"),
}


@mpl.rc_context(STYLE)
def draw(records: list[Record]) -> mpl.figure.Figure:
    """Return the figure: each panel's number over the length of training."""
    look = looks(["SoftMax", "DisMax without FPR", "DisMax"])
    figure, grid = panels(len(PANELS), sharex=True)
    for axes, (title, value) in zip(grid, PANELS.items(), strict=True):
        cells: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(dict)
        for record in records:
            line = cells[record["titles"]["model"], record["titles"]["loss"]]
            line.setdefault(record["config"]["epochs"], []).append(100 * value(record))
        for (model, loss), by_epochs in sorted(cells.items()):
            colour = look[loss]["color"]
            style, marker = LINES[model]
            epochs = sorted(by_epochs)
            axes.plot(
                epochs,
                [mean(by_epochs[each]) for each in epochs],
                style,
                color=colour,
                linewidth=1.3,
            )
            for each in epochs:
                points = [each] * len(by_epochs[each]), by_epochs[each]
                axes.plot(*points, marker, color=colour, markersize=3)
            label = f"{loss}, {model}"  # of a line with a point, for the legend
            axes.plot([], style, marker=marker, color=colour, markersize=3, label=label)
        axes.set(title=title, xscale="log", xlim=(3, 80))
        axes.set_xticks([4, 15, 60], ["4", "15", "60"], minor=False)
        axes.minorticks_off()
    for axes in grid[len(grid) // 2 :]:
        axes.set_xlabel("epochs")
    legend(figure, grid[0], 3)
    return figure


if __name__ == "__main__":
    records, _ = read_runs([FOLDER / "runs"])
    draw([*records.values()]).savefig(FOLDER / "figures" / "length.png", dpi=150)
