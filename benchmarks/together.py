#!/usr/bin/env python3
"""Several runs at once on one device: their images/s together, beside those of a run alone."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch

from utils.runtime import find_device

from .common import check_positive, pictures, show, start
from .training import trainer_of

PATIENCE = 300  # seconds for all to get ready
_all_ready: Barrier  # of a worker's process


def _begin(all_ready: Barrier, threads: int) -> None:
    global _all_ready
    _all_ready = all_ready
    torch.set_num_threads(threads)


def _rate(name: str, folder: Path, precision: str, device: str, seconds: float) -> float:
    """The images/s of one run of several that begin together."""
    try:
        trainer = trainer_of(name, folder, precision, device)
        trainer.run_epoch(lambda *_: None)  # captures the step on a GPU
    except BaseException:
        _all_ready.abort()  # the others would wait for this one
        raise
    _all_ready.wait(PATIENCE)
    started, epochs = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        trainer.run_epoch(lambda *_: None)  # its end waits for the device
        epochs += 1
    return epochs * sum(trainer.batches.sizes) / (time.perf_counter() - started)


def together(count: int, *given) -> list[float]:
    """The images/s of each of so many runs at once, in processes of their own; given: as `_rate`."""
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(count), max(1, torch.get_num_threads() // count)
    with ProcessPoolExecutor(count, context, _begin, begin) as pool:
        return [done.result() for done in as_completed([pool.submit(_rate, *given) for _ in range(count)])]


def main(
    models: tuple[str, ...] = ("densenetbc100", "resnet34", "wideresnet2810"),
    counts: tuple[int, ...] = (1, 2, 4, 8),
    images: int = 3200,
    seconds: float = 10.0,
    precision: Literal["fp32", "bf16", "fp16"] = "bf16",
    device: str = "auto",
) -> None:
    """Print the images/s of each number of runs.

    Args:
        models: networks.
        counts: numbers of runs; the first is what the ratios are of.
        images: in an epoch.
        seconds: that each number of runs trains.
        precision: as main.py's.
        device: as main.py's.
    """
    check_positive(seconds=seconds, models=len(models), counts=min(counts, default=0))
    where = find_device(device)
    pixels, labels = pictures(images)
    rows = []
    with TemporaryDirectory() as folder:
        for split in ("train", "test"):
            np.savez(Path(folder) / f"{split}.npz", images=pixels, labels=labels)
        for name in models:
            rates = {count: sum(together(count, name, Path(folder), precision, str(where), seconds)) for count in counts}
            rows += [
                {
                    "network": name,
                    "runs at once": count,
                    "images/s, each": f"{rate / count:,.1f}",
                    "together": f"{rate:,.1f}",
                    "ratio": f"{rate / rates[counts[0]]:.2f}",
                }
                for count, rate in rates.items()
            ]
    show(f"Training with DisMax and FPR in {precision}, batches of 64, several runs at once", where, rows)


if __name__ == "__main__":
    start(main, __doc__)
