#!/usr/bin/env python3
"""How time and memory grow with the batch, the classes and the images: a table, and a figure where
matplotlib is installed.
"""

import math
import multiprocessing
import resource
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from experiment.recipes import RECIPES
from losses import LOSSES
from models import build_model
from training.trainer import Trainer
from utils.runtime import keep_freed_memory

from .common import check_positive, in_turns, show, start
from .heads import step

DEVICE = torch.device("cpu")
WHAT = {
    "batch": "ResNet-10 and DisMax, a step on 32×32 images",
    "classes": "DisMax's head and loss, forward and backward, batch 64, 512 features",
    "images": "an epoch of the small CNN and DisMax on 32×32 images, batches of 64",
}


def trainer(model_name: str, images: int, batch: int) -> Trainer:
    """Of a network with DisMax and FPR, on random images."""
    row = LOSSES["dismax"]
    model = build_model(model_name, 10, row.head).to(memory_format=torch.channels_last)
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8)
    normalize = Normalizer((0.5,) * 3, (0.2,) * 3, DEVICE)
    batches = TrainingBatches(
        Images(pixels, torch.arange(images) % 10, ()), normalize, batch, 4, True, DEVICE
    )
    criterion = row.criterion(model.classifier)
    return Trainer(model, criterion, batches, RECIPES["paper"], 1000, 1, "fp32")


def work(what: str, size: int) -> Callable[[], object]:
    """A function that does what is measured at a size."""
    if what == "classes":
        head = LOSSES["dismax_nofpr"].head(512, size)
        return step(
            head,
            LOSSES["dismax_nofpr"].criterion(head),
            torch.randn(64, 512),
            torch.randint(size, (64,)),
        )
    of_batch = what == "batch"
    training = trainer("resnet10" if of_batch else "smallcnn", size, size if of_batch else 64)
    return lambda: training.run_epoch(lambda *_: None)


def peak_memory(what: str, size: int) -> float:
    """The MB by which a process's peak memory rises with one call; 1 where it is less, which hides
    in what the process had.
    """
    keep_freed_memory()  # as main.py does
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(what, size)()
    rise = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return max(1.0, rise / (2**20 if sys.platform == "darwin" else 2**10))


def exponents(sizes: Sequence[int], values: Sequence[float]) -> list[float]:
    """The exponent of growth between each size and the next; 1 is linear."""
    points = list(zip(sizes, values, strict=True))
    return [
        math.log(new / old) / math.log(more / less) for (less, old), (more, new) in pairwise(points)
    ]


def draw(
    sizes: Mapping[str, Sequence[int]],
    measured: Mapping[str, Mapping[str, Sequence[float]]],
    path: Path,
) -> None:
    """Each quantity over its sizes, both axes logarithmic, with a dotted line of linear growth
    through the largest.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    quantities = list(next(iter(measured.values())))
    grid = figure.subplots(len(quantities), len(measured), sharex="col", squeeze=False)
    for column, (what, values) in zip(grid.T, measured.items(), strict=True):
        of = sizes[what]
        column[0].set_title(textwrap.fill(WHAT[what], 36), fontsize="medium")
        for axes, quantity in zip(column, quantities, strict=True):
            axes.loglog(of, values[quantity], "o-", label="measured")
            axes.loglog(
                of,
                [values[quantity][-1] * size / of[-1] for size in of],
                ":",
                color="gray",
                label="linear",
            )
            axes.set_ylabel(quantity)
        column[-1].set_xticks(of, [f"{size:,}" for size in of])
        column[-1].minorticks_off()
        column[-1].set_xlabel(what)
    grid[0, 0].legend()
    figure.savefig(path, dpi=150)


def main(
    batch: tuple[int, ...] = (16, 32, 64, 128, 256),
    classes: tuple[int, ...] = (10, 100, 1000, 10_000),
    images: tuple[int, ...] = (1000, 5000, 20_000, 50_000),
    repeats: int = 3,
    figure: Path | None = None,
) -> None:
    """Print a table for each; with --figure, draw them to a .png, .pdf or .svg too."""
    check_positive(batch=min(batch), classes=min(classes), images=min(images), repeats=repeats)
    if figure and (figure.suffix not in (".png", ".pdf", ".svg") or not figure.parent.is_dir()):
        raise ValueError(
            f"--figure takes a .png, .pdf or .svg in a folder that is there, got {figure}"
        )
    given = {"batch": batch, "classes": classes, "images": images}
    # A process each, and before this one grows: Linux hands a process's peak on to those it starts.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        peaks = {
            what: [fresh.apply(peak_memory, (what, size)) for size in sizes]
            for what, sizes in given.items()
        }
    keep_freed_memory()
    measured = {}
    for what, sizes in given.items():
        memory, seconds = (
            peaks[what],
            list(in_turns({str(size): work(what, size) for size in sizes}, repeats).values()),
        )
        measured[what] = {"seconds": seconds, "peak MB": memory}
        columns = {
            what: [f"{size:,}" for size in sizes],
            "seconds": [f"{value:.4g}" for value in seconds],
        }
        columns["growth"] = ["", *(f"{value:.2f}" for value in exponents(sizes, seconds))]
        columns["peak MB"] = [f"{value:.0f}" for value in memory]
        columns["memory's growth"] = ["", *(f"{value:.2f}" for value in exponents(sizes, memory))]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        show(f"{WHAT[what]}: growth as an exponent of the size (1 is linear)", DEVICE, rows)
    if figure:
        draw(given, measured, figure)
        print(f"\nwritten to {figure}")


if __name__ == "__main__":
    start(main, __doc__)
