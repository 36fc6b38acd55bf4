"""Saves the figures as files, and turns them into a page's pictures with captions."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from utils.bins import BINS
from utils.files import whole_file

from .figures import (
    History,
    reliability_diagrams,
    risk_coverage_curves,
    roc_curves,
    training_curves,
)
from .histograms import score_histograms
from .outcomes import Methods
from .rank_figure import rank_figure
from .ranking import Ranking
from .style import FAINT, INK, LINE, STYLE, Looks

# The page's variables for these colours.
VARIABLES = {INK: "var(--ink)", LINE: "var(--line)", FAINT: "var(--faint)"}
# A figure's name → its title and caption.
CAPTIONS = {
    "reliability": (
        "Reliability before and after calibration",
        f"All runs' test images together, in the ECE's {BINS} bins; a point grows with its bin's "
        "share of the images, and bins of fewer than one in a thousand are left out. On the "
        "diagonal, accuracy equals confidence. Above it, the network is underconfident. ECE: mean "
        "of the runs.",
    ),
    "scores": (
        "Scores of test and OOD images",
        "Each method's first run. Grey: test images; colour: the set named above the column; the "
        "outermost 0.2 % on each side lie in the first and last bar. Dotted: the threshold that "
        "accepts 95 % of the images that the temperature was fitted to. Images to the right of it "
        "are accepted. A score from 0 to 1, such as MPS, is drawn over its log-odds "
        "log(p / (1 - p)), because nearly all of it is close to 1; the marks are the scores "
        "themselves.",
    ),
    "roc": (
        "ROC curves",
        "Each method's own score: the mean of its runs' curves, and the range from the lowest to "
        "the highest. Dotted: 95 % of the test images accepted.",
    ),
    "risk": (
        "Risk and coverage",
        "If a threshold on the method's own score accepts this share of the images (coverage), "
        "the risk is the share of failures among them. In the first panel the images are the test "
        "images, and a wrong answer is a failure. In the others the images of an OOD set are among "
        "them, and each is a failure. Lower is better; at coverage 1 the risk is the share of "
        "failures among all images. The mean of the runs' curves, and their range.",
    ),
    "ranks": (
        "Ranks over OOD sets",
        "The mean ranks of the methods' AUROC over the OOD sets of all tables. A bar joins methods "
        "that are not told apart.",
    ),
    "training": (
        "Training",
        "The mean of the runs, and the range from the lowest to the highest. With FPR the "
        "training accuracy is that of the half that was not mixed.",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A figure as SVG in a page's colours, with its title and caption."""

    title: str
    caption: str
    svg: Markup


def pictures(
    methods: Methods, histories: Mapping[str, Sequence[History]], look: Looks, prefix: Path
) -> list[Picture]:
    """Draw the figures for which there are data, and write them as PREFIX-NAME.png and .pdf.

    Args:
        methods: each method's outcomes.
        histories: each method's accuracies by epoch.
        look: each method's colour and line style.
        prefix: the folder, and the start of the files' names.
    """
    figures = {}
    if methods:
        figures["reliability"] = reliability_diagrams(methods, look)
        figures["scores"] = score_histograms(methods, look)
        figures["roc"] = roc_curves(methods, look)
        figures["risk"] = risk_coverage_curves(methods, look)
    if histories:
        figures["training"] = training_curves(histories, look)
    return [
        Picture(*CAPTIONS[name], _save(figure, prefix, name)) for name, figure in figures.items()
    ]


def rank_picture(found: Ranking, folder: Path) -> Picture:
    """Draw the critical-difference diagram, and write it to FOLDER/all-ranks.png and .pdf."""
    return Picture(*CAPTIONS["ranks"], _save(rank_figure(found), folder / "all", "ranks"))


def _save(figure: Figure, prefix: Path, name: str) -> Markup:
    """Write a figure as PNG and PDF. Return it as SVG, in the page's colours."""
    formats: dict[str, dict[str, Any]] = {
        "png": {"dpi": 200},
        "pdf": {"metadata": {"CreationDate": None}},
    }
    with mpl.rc_context(STYLE | {"svg.hashsalt": f"{prefix.name}-{name}"}):
        for suffix, options in formats.items():
            # In memory first: then an error of a full disk comes from this program's own writing.
            content = io.BytesIO()
            figure.savefig(content, format=suffix, facecolor="white", **options)
            with whole_file(prefix.with_name(f"{prefix.name}-{name}.{suffix}")) as path:
                path.write_bytes(content.getbuffer())
        text = io.StringIO()
        figure.savefig(text, format="svg", facecolor="none", metadata={"Date": None})
    svg = text.getvalue()
    # On a narrower page the figure scrolls, because its smallest text has 8 pixels there.
    attributes = (
        f'role="img" aria-label="{CAPTIONS[name][0]}" '
        f'style="min-width: {79 * figure.get_figwidth():.0f}px"'
    )
    svg = svg[svg.index("<svg") :].replace("<svg ", f"<svg {attributes} ", 1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return Markup(svg)
