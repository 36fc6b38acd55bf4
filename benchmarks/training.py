#!/usr/bin/env python3
"""Compares the images/s of main.py's training with those of a plain and of a compiled PyTorch loop.

On a CPU, also prints how main.py's epoch spends its time.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import main as program
from training.build import build
from training.trainer import Trainer
from utils.runtime import PRECISIONS, find_device

from .ceiling import ceiling, flops
from .common import (
    check_models,
    check_positive,
    in_turns,
    new_processes,
    show,
    start,
    timed,
    write_pictures,
)
from .loops import BATCH, loops_of


def trainer_of(name: str, folder: Path, precision: str, device: str, *options: str) -> Trainer:
    """Return main.py's trainer of a run with DisMax and FPR, on the images in `folder`."""
    arguments = ["--data", str(folder), "--model", name, "--loss", "dismax"]
    arguments += ["--precision", precision, "--protocol", "paper", "--ood", "noise"]
    config = program.parse([*arguments, "--runs", str(folder / "runs"), *options])
    return build(config, torch.device(device)).trainer


def started_by_host(trainer: Trainer) -> int:
    """Count the kernels, copies and graphs that the host starts on a GPU in a training step."""
    calls = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA]) as profile:
        trainer.run_epoch(lambda *_: None)
    events = profile.events() or []
    return round(sum(event.name.startswith(calls) for event in events) / len(trainer.batches.sizes))


def share_row(name: str, trainer: Trainer) -> dict[str, str]:
    """Return a network's row of the shares of an epoch's time on a CPU.

    They are the network's forward and backward pass, the optimizer's step, and all else.
    """
    places = {
        "forward": (trainer.model, "forward"),
        "backward": (torch.Tensor, "backward"),
        "optimizer": (trainer.optimizer, "step"),
    }
    with timed(places) as seconds:
        started = time.perf_counter()
        trainer.run_epoch(lambda *_: None)
        whole = time.perf_counter() - started
    shares = {part: sum(durations) / whole for part, durations in seconds.items()}
    shares["all else"] = 1 - sum(shares.values())
    return {"network": name} | {part: f"{share:.2%}" for part, share in shares.items()}


def trainers_of(name: str, folder: Path, where: torch.device, compiled: bool) -> dict[str, Trainer]:
    """Return main.py's trainers with the options to compare, by title."""
    variants: list[tuple[str, ...]] = [()]
    if where.type == "cuda":
        variants.append(("--cuda-graph", "off"))
    if compiled:
        variants.append(("--compile",))
    trainers = {}
    for options in variants:
        for precision in ("fp32", "bf16"):
            title = " ".join(("main.py", *options, precision))
            trainers[title] = trainer_of(name, folder, precision, str(where), *options)
    return trainers


def rates_of(
    loops: dict[str, Callable[[], object]],
    trainers: dict[str, Trainer],
    images: int,
    repeats: int,
) -> dict[str, float]:
    """Return the images/s of the other loops and of main.py's trainers, by title."""
    sides = dict(loops)
    for title, trainer in trainers.items():
        sides[title] = partial(trainer.run_epoch, lambda *_: None)
    seconds = in_turns(sides, repeats, seconds=0)
    return {title: images / duration for title, duration in seconds.items()}


def rows_of(
    name: str,
    rates: dict[str, float],
    trainers: dict[str, Trainer],
    where: torch.device,
    peak: dict[str, float],
) -> list[dict[str, object]]:
    """Return a network's rows of the table.

    Args:
        name: of the network.
        rates: title of a loop → its images/s.
        trainers: main.py's trainers, by title.
        where: the device.
        peak: precision → the largest number of floating-point operations per second.
    """
    rows: list[dict[str, object]] = []
    for title, rate in rates.items():
        operations = flops(name, True) * rate
        limit = peak["bf16" if title.endswith("bf16") else "fp32"]
        row: dict[str, object] = {
            "network, loop": f"{name}, {title}",
            "images/s": f"{rate:,.1f}",
            "ratio": f"{rate / rates['plain loop']:.2f}",
            "GFLOP/s": f"{operations / 1e9:,.0f}",
            "of ceiling": f"{operations / limit:.0%}",
            "300 epochs, h": f"{300 * 50_000 / rate / 3600:.2f}",
        }
        if where.type == "cuda":
            trainer = trainers.get(title)
            row["host calls a step"] = started_by_host(trainer) if trainer else ""
        rows.append(row)
    return rows


def main(
    models: tuple[str, ...] = ("resnet34", "densenetbc100"),
    images: int = 256,
    repeats: int = 5,
    device: str = "auto",
    compiled: bool = False,
) -> None:
    """Print the images/s of a usual training loop and of main.py in float32 and bf16.

    The hours are for 300 epochs of 50,000 images at the measured rate. No such run was made.

    Args:
        models: networks.
        images: in an epoch.
        repeats: epochs of each side.
        device: as main.py's.
        compiled: also measure main.py with --compile, and a loop with torch.compile; compiling
            takes minutes.
    """
    check_models(models)
    check_positive(repeats=repeats)
    if compiled and images % BATCH:
        raise ValueError(
            f"--compiled takes whole batches: --images must be a multiple of {BATCH}, got {images}"
        )
    where = find_device(device)
    rows: list[dict[str, object]] = []
    share_rows = []
    # The other loops run in a process of their own, in which main.py has not changed the settings
    # of torch and of the C library.
    with TemporaryDirectory() as name_of_folder, new_processes() as process:
        folder = Path(name_of_folder)
        write_pictures(folder, images)
        peak = {
            precision: ceiling(PRECISIONS[precision], where, True, repeats)
            for precision in ("fp32", "bf16")
        }
        for name in models:
            trainers = trainers_of(name, folder, where, compiled)
            loops = loops_of(name, images, where, process, compiled)
            rates = rates_of(loops, trainers, images, repeats)
            rows += rows_of(name, rates, trainers, where, peak)
            if where.type == "cpu":
                share_rows.append(share_row(name, trainers["main.py fp32"]))
    peaks = ", ".join(f"{precision} {rate / 1e9:,.0f} GFLOP/s" for precision, rate in peak.items())
    title = f"Training, batches of {BATCH}, {images} images (ceiling: a 3×3 convolution, {peaks})"
    show(title, where, rows)
    if share_rows:
        show("Shares of an epoch of main.py, float32", where, share_rows)


if __name__ == "__main__":
    start(main, __doc__)
