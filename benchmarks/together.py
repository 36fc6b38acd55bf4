#!/usr/bin/env python3
"""Compares the images/s of several runs at once on one device with those of one run."""

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BrokenBarrierError
from typing import Literal

import torch

from utils.runtime import find_device

from .common import (
    check_models,
    check_positive,
    new_processes,
    show,
    start,
    write_pictures,
)
from .training import trainer_of

PATIENCE = 300  # seconds until all runs must be ready
_all_ready: Barrier  # in a run's process: where it waits for the others


def _begin(all_ready: Barrier, threads: int) -> None:
    global _all_ready
    _all_ready = all_ready
    torch.set_num_threads(threads)


def _rate(name: str, folder: Path, precision: str, device: str, seconds: float) -> float:
    """Return the images/s of one of several runs, which begin at the same time."""
    try:
        trainer = trainer_of(name, folder, precision, device)
        trainer.run_epoch(lambda *_: None)  # captures the step on a GPU
    except BaseException:
        _all_ready.abort()  # otherwise the others would wait for this one
        raise
    _all_ready.wait(PATIENCE)
    started, epochs = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        trainer.run_epoch(lambda *_: None)  # waits for the device at its end
        epochs += 1
    return epochs * sum(trainer.batches.sizes) / (time.perf_counter() - started)


def together(count: int, *arguments) -> list[float]:
    """Return the images/s of each of several runs at once, each in a process of its own.

    Args:
        count: how many runs.
        arguments: of `_rate`.

    Raises program.Failure if one of the processes is killed.
    """
    barrier = multiprocessing.get_context("spawn").Barrier(count)
    threads = max(1, torch.get_num_threads() // count)
    with new_processes(count, initializer=_begin, initargs=(barrier, threads)) as executor:
        runs = [executor.submit(_rate, *arguments) for _ in range(count)]
        # The executor starts to watch a new process when the next task is submitted. Without this
        # empty task it would not notice the death of the last process, and the line below would
        # wait forever.
        executor.submit(int)
        errors = [error for run in runs if (error := run.exception())]
        if errors:
            # A run that fails ends the wait of the others, whose errors do not say why.
            raise min(errors, key=lambda error: isinstance(error, BrokenBarrierError))
        return [run.result() for run in runs]


def main(
    models: tuple[str, ...] = ("densenetbc100", "resnet34", "wideresnet2810"),
    counts: tuple[int, ...] = (1, 2, 4, 8),
    images: int = 3200,
    seconds: float = 10.0,
    precision: Literal["fp32", "bf16", "fp16"] = "bf16",
    device: str = "auto",
) -> None:
    """Print the images/s for each number of runs at once.

    Args:
        models: networks.
        counts: numbers of runs; the ratios are to the first of them.
        images: in an epoch.
        seconds: how long the runs train.
        precision: as main.py's.
        device: as main.py's.
    """
    check_models(models)
    if not counts:
        raise ValueError("--counts names no number of runs: leave it out, or name one")
    check_positive(seconds=seconds, counts=min(counts))
    where = find_device(device)
    rows = []
    with TemporaryDirectory() as folder:
        write_pictures(Path(folder), images)
        for name in models:
            rates = {
                count: sum(together(count, name, Path(folder), precision, str(where), seconds))
                for count in counts
            }
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
    show(
        f"Training with DisMax and FPR in {precision}, batches of 64, several runs at once",
        where,
        rows,
    )


if __name__ == "__main__":
    start(main, __doc__)
