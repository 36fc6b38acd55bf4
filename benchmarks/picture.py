#!/usr/bin/env python3
"""Draw the picture of the README from one finished run: scores of images, and calibration.

python main.py --loss dismax --seed 1 --precision fp32
python -m benchmarks.picture
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiment import records
from reporting.curves import reliability, threshold
from reporting.outcomes import Outcome, load_outcome
from reporting.style import COLOURS, FAINT, INK, LINE, STYLE
from utils.files import whole_file
from utils.output import print_line

from .common import start

TPR = 0.95  # share of in-distribution images to accept


def draw_scores(axes: Axes, run: Outcome, source: str, colour: str) -> None:
    """Draw the scores of test images and of one out-of-distribution set, with the threshold."""
    lowest = threshold(run.calibration_scores, TPR)
    test, ood = run.scores["test"], run.scores[source]
    low, high = np.quantile(np.concatenate([test, ood]), (0.002, 0.998))
    edges = np.linspace(low, high, 40).tolist()
    for values, shade, label in ((test, FAINT, "test"), (ood, colour, source)):
        axes.hist(
            np.clip(values, low, high),
            edges,
            weights=np.full(len(values), 1 / len(values)),
            color=shade,
            alpha=0.65,
            histtype="stepfilled",
            label=label,
        )
    axes.axvline(lowest, color=INK, linewidth=1, linestyle="--", label="threshold")
    title = run.record["detection"][source]["title"]
    axes.set_title(f"{title}: {(ood >= lowest).mean():.0%} accepted")
    axes.set(yticks=[], xlabel="score")


def draw_reliability(axes: Axes, run: Outcome) -> None:
    """Draw accuracy over confidence, before and after calibration."""
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    labels = {"t1": "before", "calibrated": "after calibration"}
    for (key, label), colour in zip(labels.items(), (FAINT, COLOURS[0]), strict=True):
        confidence, accuracy, share = reliability(run.confidences[key]["test"], run.correct)
        shown = share * len(run.correct) > 1.5  # a bin of one image has no accuracy
        text = f"{label}: ECE {run.ece[key]:.3f}"
        sizes = 15 + 80 * share[shown]
        axes.scatter(confidence[shown], accuracy[shown], s=sizes, color=colour, label=text)
    axes.set(xlim=(0, 1.03), ylim=(0, 1.05), xlabel="confidence", title="Accuracy of test digits")
    axes.legend(loc="lower right", fontsize=8, handletextpad=0)


@mpl.rc_context(STYLE)
def draw(run: Outcome) -> Figure:
    """Return the picture: a panel for each out-of-distribution set, and one for calibration."""
    sets = list(run.record["detection"])
    figure = Figure(figsize=(2.5 * (len(sets) + 1), 2.7), layout="constrained")
    *panels, last = figure.subplots(1, len(sets) + 1)
    for axes, source, colour in zip(panels, sets, COLOURS[1:], strict=False):
        draw_scores(axes, run, source, colour)
    test, _, threshold = panels[0].get_legend_handles_labels()[0]
    labels = ["test digits", f"threshold that accepts {TPR:.0%} of held-out digits"]
    figure.legend([test, threshold], labels, loc="outside lower left", ncols=2, fontsize=9)
    draw_reliability(last, run)
    return figure


def main(
    run: Path = Path("runs/digits/smallcnn/dismax/1"), out: Path = Path("docs/picture.png")
) -> None:
    """Draw the picture of the README.

    Args:
        run: folder of a finished run.
        out: PNG file to write.
    """
    figure = draw(load_outcome(run, records.read_record(run / records.METRICS)))
    with whole_file(out) as path:
        figure.savefig(path, format="png", dpi=130, facecolor="white")
    print_line(f"written to {out}")


if __name__ == "__main__":
    start(main, __doc__)
