#!/usr/bin/env python3
"""Measures what is computed from a network's outputs.

These are the temperature, and every score and metric of four out-of-distribution sets.
"""

import torch

from experiment.evaluation import classification_results
from experiment.scoring import score_results
from losses import LOSSES
from utils.calibration import fit_temperature

from .common import check_positive, in_turns, show, start


def main(images: int = 10_000, classes: int = 100, sets: int = 4, repeats: int = 5) -> None:
    """Print the seconds of each part.

    Args:
        images: in the test set and in each out-of-distribution set.
        classes: of the logits.
        sets: number of out-of-distribution sets.
        repeats: measurements of each part.
    """
    check_positive(images=images, classes=classes, sets=sets)
    generator = torch.Generator().manual_seed(0)
    head = LOSSES["dismax"].head(8, classes).eval()
    logits = 3 * torch.randn(images, classes, generator=generator)
    labels = torch.multinomial((logits / 0.4).softmax(1), 1, generator=generator).squeeze(1)
    outside = {
        str(i): {"logits": 2 * torch.randn(images, classes, generator=generator)}
        for i in range(sets)
    }
    at = {"t1": 1.0, "calibrated": 0.4}
    parts = {
        "temperature by ECE": lambda: fit_temperature(logits, labels),
        "temperature by NLL": lambda: fit_temperature(logits, labels, "nll"),
        "accuracy, NLL, ECEs, Brier score, at both temperatures": lambda: classification_results(
            logits, labels, at
        ),
        "detection, at T = 1": lambda: score_results(
            head.all_scores, {"logits": logits}, labels, outside, {"t1": 1.0}
        ),
        "detection, at both temperatures": lambda: score_results(
            head.all_scores, {"logits": logits}, labels, outside, at
        ),
    }
    rows = [
        {"part": name, "seconds": f"{seconds:.2f}"}
        for name, seconds in in_turns(parts, repeats, seconds=0).items()
    ]
    title = (
        f"{images:,} × {classes} logits; detection: {sets} sets of {images:,}, 6 scores × 8 metrics"
    )
    show(title, torch.device("cpu"), rows)


if __name__ == "__main__":
    start(main, __doc__)
