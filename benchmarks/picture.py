#!/usr/bin/env python3
"""Draw the picture of the README from one finished run: scores of images, and calibration.

python main.py --loss dismax --seed 1 --precision fp32
python -m benchmarks.picture
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data.images import EVALUATION_BATCH
from dismax import Detector
from experiment import records
from experiment.finished import FinishedRun
from reporting.curves import reliability
from reporting.outcomes import Outcome, load_outcome
from reporting.style import COLOURS, FAINT, INK, LINE, STYLE
from utils.files import whole_file
from utils.output import print_line

from .common import start


def scores(folder: Path, detector: Detector) -> dict[str, NDArray]:
    """Return a detector's scores of the test images and of each out-of-distribution set."""
    data = FinishedRun(folder, torch.device("cpu"), Path()).load_data()
    sets = {name: images for name, images in data.evaluation_sets.items() if name != "validation"}
    with torch.no_grad():
        return {
            name: torch.cat(
                [detector(pixels).scores for pixels in images.batches(EVALUATION_BATCH)]
            ).numpy()
            for name, images in sets.items()
        }


def draw_scores(
    axes: Axes, test: NDArray, ood: NDArray, lowest: float, title: str, colour: str
) -> None:
    """Draw the scores of test images and of one out-of-distribution set, with the threshold."""
    both = np.concatenate([test, ood])
    edges = np.linspace(both.min(), both.max(), 40).tolist()
    for values, shade in ((test, FAINT), (ood, colour)):
        axes.hist(
            values,
            edges,
            weights=np.full(len(values), 1 / len(values)),
            color=shade,
            alpha=0.65,
            histtype="stepfilled",
        )
    axes.axvline(lowest, color=INK, linewidth=1, linestyle="--")
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
def draw(folder: Path) -> Figure:
    """Return the picture: a panel for each out-of-distribution set, and one for calibration."""
    run = load_outcome(folder, records.read_record(folder / records.METRICS))
    detector = Detector.load(folder)  # as predict.py uses it
    found = scores(folder, detector)
    sets = run.record["detection"]
    figure = Figure(figsize=(2.5 * (len(sets) + 1), 2.7), layout="constrained")
    *panels, last = figure.subplots(1, len(sets) + 1)
    for axes, source, colour in zip(panels, sets, COLOURS[1:], strict=False):
        title = sets[source]["title"]
        draw_scores(axes, found["test"], found[source], detector.threshold(), title, colour)
    test, line = panels[0].patches[0], panels[0].lines[0]
    labels = ["test digits", f"threshold that accepts {detector.tpr:.0%} of held-out digits"]
    figure.legend([test, line], labels, loc="outside lower left", ncols=2, fontsize=9)
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
    figure = draw(run)
    with whole_file(out) as path:
        figure.savefig(path, format="png", dpi=130, facecolor="white")
    print_line(f"written to {out}")


if __name__ == "__main__":
    start(main, __doc__)
