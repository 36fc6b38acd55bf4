"""How far is a fitted temperature from the true one, if few answers are wrong?

    python -m benchmarks.errors

The logits [N, 10] are normal, and the labels are drawn from their softmax, so the true temperature
is 1. The answers are right in 96 % of the images on average.
"""

import warnings

import torch
from torch import Tensor

from utils.calibration import fit_temperature

from .common import check_positive, show, start

CLASSES = 10
ACCURACY = 0.96
SCALE = 27.0  # of the logits; it gives this accuracy
ERRORS = (1, 3, 10, 30, 100)
RANGE = (0.1, 0.9)  # quantiles: eight of ten temperatures are between them


def simulated(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return logits [N, 10] and labels [N] whose true temperature is 1."""
    logits = SCALE * torch.randn(count, CLASSES, generator=generator, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def fitted(count: int, sets: int, objective: str) -> str:
    """Return the range of eight of ten temperatures, fitted to sets of `count` images each."""
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few wrong answers
        temperatures = [
            fit_temperature(*simulated(count, generator), objective=objective) for _ in range(sets)
        ]
    low, high = torch.tensor(temperatures).quantile(torch.tensor(RANGE)).tolist()
    return f"{low:.2f} to {high:.2f}"


def main(sets: int = 150, ece_sets: int = 40) -> None:
    """Print the ranges of fitted temperatures.

    Args:
        sets: simulated sets of a row, for the NLL.
        ece_sets: the same for the ECE, which takes longer.
    """
    check_positive(sets=sets, ece_sets=ece_sets)
    logits, labels = simulated(200_000, torch.Generator().manual_seed(1))
    right = (logits.argmax(1) == labels).double().mean()
    rows = [
        {
            "errors on average": errors,
            "images": (count := round(errors / (1 - ACCURACY))),
            "T by NLL": fitted(count, sets, "nll"),
            "T by ECE": fitted(count, ece_sets, "ece"),
        }
        for errors in ERRORS
    ]
    show(f"Fitted temperatures, accuracy {right:.1%}", torch.device("cpu"), rows)


if __name__ == "__main__":
    start(main, __doc__)
