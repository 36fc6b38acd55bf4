#!/usr/bin/env python3
"""Measures how time and memory grow with the batch, the classes and the images.

Prints tables, and draws a figure if matplotlib is installed.
"""

import math
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

from .common import check_positive, in_turns, new_processes, show, start
from .heads import step

DEVICE = torch.device("cpu")
# What is measured for each quantity that grows.
TITLES = {
    "batch": "ResNet-10 and DisMax, a step on 32×32 images",
    "classes": "DisMax's head and loss, forward and backward, batch 64, 512 features",
    "images": "an epoch of the small CNN and DisMax on 32×32 images, batches of 64",
}


def trainer(model_name: str, images: int, batch: int) -> Trainer:
    """Return the trainer of a network with DisMax and FPR, on random images."""
    loss = LOSSES["dismax"]
    model = build_model(model_name, 10, loss.head).to(memory_format=torch.channels_last)
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8)
    normalize = Normalizer((0.5,) * 3, (0.2,) * 3, DEVICE)
    batches = TrainingBatches(
        Images(pixels, torch.arange(images) % 10, ()), normalize, batch, 4, True, DEVICE
    )
    criterion = loss.criterion(model.classifier)
    return Trainer(model, criterion, batches, RECIPES["paper"], 1000, 1, "fp32")


def work(quantity: str, size: int) -> Callable[[], object]:
    """Return a function that does what is measured, with the quantity at this size."""
    if quantity == "classes":
        loss = LOSSES["dismax_nofpr"]
        head = loss.head(512, size)
        features, targets = torch.randn(64, 512), torch.randint(size, (64,))
        return step(head, loss.criterion(head), features, targets)
    if quantity == "batch":
        training = trainer("resnet10", size, size)
    else:
        training = trainer("smallcnn", size, 64)
    return lambda: training.run_epoch(lambda *_: None)


def peak_memory(quantity: str, size: int) -> float:
    """Return the MB by which one call raises the process's peak memory.

    It is at least 1. A smaller rise does not show, since the process has some free memory.
    """
    keep_freed_memory()  # as main.py does
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(quantity, size)()
    rise = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return max(1.0, rise / (2**20 if sys.platform == "darwin" else 2**10))


def exponents(sizes: Sequence[int], values: Sequence[float]) -> list[float]:
    """Return the exponent of growth between each size and the next; 1 is linear."""
    points = zip(sizes, values, strict=True)
    return [
        math.log(value / previous_value) / math.log(size / previous_size)
        for (previous_size, previous_value), (size, value) in pairwise(points)
    ]


def draw(
    sizes: Mapping[str, Sequence[int]],
    results: Mapping[str, Mapping[str, Sequence[float]]],
    path: Path,
) -> None:
    """Draw a column of panels for each quantity: time and memory over its sizes.

    Both axes are logarithmic. A dotted line shows linear growth through the largest size.

    Args:
        sizes: quantity → sizes.
        results: quantity → "seconds" or "peak MB" → a number for each size.
        path: the figure's file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    rows = list(next(iter(results.values())))
    grid = figure.subplots(len(rows), len(results), sharex="col", squeeze=False)
    for column, (quantity, values) in zip(grid.T, results.items(), strict=True):
        x = sizes[quantity]
        column[0].set_title(textwrap.fill(TITLES[quantity], 36), fontsize="medium")
        for axes, row in zip(column, rows, strict=True):
            linear = [values[row][-1] * size / x[-1] for size in x]
            axes.loglog(x, values[row], "o-", label="measured")
            axes.loglog(x, linear, ":", color="gray", label="linear")
            axes.set_ylabel(row)
        column[-1].set_xticks(x, [f"{size:,}" for size in x])
        column[-1].minorticks_off()
        column[-1].set_xlabel(quantity)
    grid[0, 0].legend()
    figure.savefig(path, dpi=150)


def peaks(sizes: Mapping[str, Sequence[int]]) -> dict[str, list[float]]:
    """Return the peak memory of each quantity at each of its sizes, in MB.

    Each is measured in a new process. They start before this process grows, because Linux gives a
    new process the peak of the one that starts it.
    """
    memory: dict[str, list[float]] = {quantity: [] for quantity in sizes}
    for quantity, values in sizes.items():
        for size in values:
            with new_processes() as process:
                memory[quantity].append(process.submit(peak_memory, quantity, size).result())
    return memory


def rows_of(
    quantity: str, sizes: Sequence[int], seconds: Sequence[float], memory: Sequence[float]
) -> list[dict[str, object]]:
    """Return the rows of a quantity's table."""
    growth = ["", *(f"{value:.2f}" for value in exponents(sizes, seconds))]
    memory_growth = ["", *(f"{value:.2f}" for value in exponents(sizes, memory))]
    return [
        {
            quantity: f"{size:,}",
            "seconds": f"{seconds[i]:.4g}",
            "growth": growth[i],
            "peak MB": f"{memory[i]:.0f}",
            "memory's growth": memory_growth[i],
        }
        for i, size in enumerate(sizes)
    ]


def main(
    batch: tuple[int, ...] = (16, 32, 64, 128, 256),
    classes: tuple[int, ...] = (10, 100, 1000, 10_000),
    images: tuple[int, ...] = (1000, 5000, 20_000, 50_000),
    repeats: int = 3,
    figure: Path | None = None,
) -> None:
    """Print a table for each of them; with --figure, draw them to a .png, .pdf or .svg too."""
    check_positive(batch=min(batch), classes=min(classes), images=min(images), repeats=repeats)
    if figure and (figure.suffix not in (".png", ".pdf", ".svg") or not figure.parent.is_dir()):
        raise ValueError(
            f"--figure takes a .png, .pdf or .svg in a folder that is there, got {figure}"
        )
    sizes = {"batch": batch, "classes": classes, "images": images}
    memory = peaks(sizes)
    keep_freed_memory()
    results = {}
    for quantity, values in sizes.items():
        sides = {str(size): work(quantity, size) for size in values}
        seconds = list(in_turns(sides, repeats).values())
        results[quantity] = {"seconds": seconds, "peak MB": memory[quantity]}
        title = f"{TITLES[quantity]}: growth as an exponent of the size (1 is linear)"
        show(title, DEVICE, rows_of(quantity, values, seconds, memory[quantity]))
    if figure:
        draw(sizes, results, figure)
        print(f"\nwritten to {figure}")


if __name__ == "__main__":
    start(main, __doc__)
