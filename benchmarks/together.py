#!/usr/bin/env python3
"""The images/s of several runs at once on one device, all of them together, beside those of one run
alone.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BrokenBarrierError
from typing import Literal

import torch

from utils.runtime import find_device

from .common import check_models, check_positive, show, start, write_pictures
from .training import trainer_of

PATIENCE = 300  # seconds until all runs must be ready
_all_ready: Barrier  # where a run's process waits for the others


def _begin(all_ready: Barrier, threads: int) -> None:
    global _all_ready
    _all_ready = all_ready
    torch.set_num_threads(threads)


def _rate(name: str, folder: Path, precision: str, device: str, seconds: float) -> float:
    """The images/s of one of several runs, which begin at the same time."""
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
    """The images/s of each of so many runs at once, each in a process of its own. The other
    arguments are those of `_rate`.

    Raises OSError if one of them is killed.
    """
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(count), max(1, torch.get_num_threads() // count)
    with ProcessPoolExecutor(count, context, _begin, begin) as pool:
        try:
            runs = [pool.submit(_rate, *given) for _ in range(count)]
            failed = [error for run in runs if (error := run.exception())]
        except BaseException:
            # The pool would wait until they have trained for their time.
            for child in multiprocessing.active_children():
                child.kill()
            raise
    if not failed:
        return [run.result() for run in runs]
    # A run that fails ends the wait of the others; their errors do not say why.
    error = min(failed, key=lambda error: isinstance(error, BrokenBarrierError))
    if isinstance(error, BrokenProcessPool):
        raise ChildProcessError(
            "a process of the benchmark was killed: is there memory for so many --counts?"
        ) from error
    raise error


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
        counts: how many runs at once; ratios are to the first of these numbers.
        images: in an epoch.
        seconds: how long each number of runs trains.
        precision: as main.py's.
        device: as main.py's.
    """
    check_models(models)
    if not counts:
        raise ValueError("--counts names no number of runs: leave it out, or name one")
    check_positive(seconds=seconds, counts=min(counts))
    where, rows = find_device(device), []
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
