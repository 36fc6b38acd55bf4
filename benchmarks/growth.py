#!/usr/bin/env python3
"""How time and memory grow with the batch, the classes and the images: a table, and a figure where matplotlib is installed."""

import math
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import tyro

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from losses import LOSSES
from models import build_model
from utils.runtime import autocast
from utils.training import RECIPES, Trainer

from .common import in_turns, show
from .heads import step

DEVICE = torch.device("cpu")
SIZES = {"batch": (16, 32, 64, 128, 256), "classes": (10, 100, 1000, 10_000), "images": (1000, 5000, 20_000, 50_000)}
WHAT = {
    "batch": "ResNet-10 and DisMax, a step on 32×32 images",
    "classes": "DisMax's head and loss, forward and backward, batch 64, 512 features",
    "images": "an epoch of the small CNN and DisMax on 32×32 images, batches of 64",
}


def trainer(model_name: str, images: int, batch: int) -> Trainer:
    row = LOSSES["dismax"]
    model = build_model(model_name, 10, row.head).to(memory_format=torch.channels_last)
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8)
    normalize = Normalizer((0.5,) * 3, (0.2,) * 3, DEVICE)
    batches = TrainingBatches(Images(pixels, torch.arange(images) % 10, ()), normalize, batch, 4, True, DEVICE)
    criterion = row.criterion(model.classifier)
    return Trainer(model, criterion, batches, RECIPES["paper"], 1000, 1, autocast(DEVICE, "fp32"), False, DEVICE)


def work(what: str, size: int) -> Callable[[], object]:
    """What is measured at a size."""
    if what == "classes":
        head = LOSSES["dismax_nofpr"].head(512, size)
        return step(head, LOSSES["dismax_nofpr"].criterion(head), torch.randn(64, 512), torch.randint(size, (64,)))
    of_batch = what == "batch"
    training = trainer("resnet10" if of_batch else "smallcnn", size, size if of_batch else 64)
    return lambda: training.run_epoch(lambda *_: None)


def measure(what: str, size: int) -> tuple[float, float]:
    """Seconds, and the MB by which the process's peak memory rose."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    side = work(what, size)
    seconds = in_turns({"side": side}, repeats=1 if what == "images" else 7, seconds=0 if what == "images" else 0.2)["side"]
    rise = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return seconds, rise / (2**20 if sys.platform == "darwin" else 2**10)


def draw(measured: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Seconds and peak memory over the size, both axes logarithmic, with a line of linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (what, points) in zip(figure.subplots(1, len(measured)), measured.items(), strict=True):
        sizes, seconds, memory = zip(*points, strict=True)
        (line,) = axes.loglog(sizes, seconds, "o-", label="seconds")
        axes.loglog(sizes, [seconds[-1] * size / sizes[-1] for size in sizes], ":", color=line.get_color(), label="linear")
        axes.set(xlabel=what, ylabel="seconds", title=WHAT[what].split(",")[0])
        other = axes.twinx()
        other.loglog(sizes, memory, "s--", color="tab:red", label="peak MB")
        other.set_ylabel("peak MB")
        axes.legend(loc="upper left")
        other.legend(loc="lower right")
    figure.savefig(path, dpi=150)


def main(figure: Path | None = None) -> None:
    """Print a table for each; with --figure, draw them to a .png, .pdf or .svg too."""
    spawn = multiprocessing.get_context("spawn")
    measured = {}
    for what, sizes in SIZES.items():
        with spawn.Pool(1, maxtasksperchild=1) as fresh:  # a process each, for its peak is its own
            measured[what] = [(size, *fresh.apply(measure, (what, size))) for size in sizes]
        rows = []
        for i, (size, seconds, memory) in enumerate(measured[what]):
            row = {what: f"{size:,}", "seconds": f"{seconds:.4g}", "peak MB": f"{memory:.0f}", "growth": "", "memory's growth": ""}
            if i:
                before = measured[what][i - 1]
                factor = math.log(size / before[0])
                row["growth"] = f"{math.log(seconds / before[1]) / factor:.2f}"
                row["memory's growth"] = f"{math.log(memory / before[2]) / factor:.2f}"
            rows.append(row)
        show(f"{WHAT[what]}: growth as an exponent of the size (1 is linear)", DEVICE, rows)
    if figure:
        draw(measured, figure)
        print(f"\nwritten to {figure}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
