#!/usr/bin/env python3
"""Prints how an epoch of main.py spends its time: training steps, evaluation, and the rest."""

from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Literal

import main as program
from experiment import records
from training.run import Run
from training.session import Session
from training.trainer import Trainer
from utils.runtime import find_device

from .common import show, start, timed, write_pictures

WARM_UP = 3  # epochs that do not count
# An epoch is the two together.
HALVES = {"training": (Session, "_train_epoch"), "evaluation": (Session, "_evaluate_epoch")}
PARTS = {
    "training steps": (Trainer, "run_epoch"),
    "accuracy of the calibration split": (Run, "accuracy"),
    "log": (records, "write_lines"),
}


def main(
    model: str = "smallcnn",
    images: int | None = None,
    loss: str = "dismax",
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    epochs: int = 20,
    device: str = "auto",
) -> None:
    """Print the mean milliseconds of an epoch's parts, and their shares.

    Training and evaluation end when the host reads a value from the device, so their times include
    the GPU's work.

    Args:
        model: the network.
        images: this many random training images of 32 pixels, and a fifth as many to evaluate on.
            By default the digits.
        loss: as main.py's.
        precision: as main.py's.
        epochs: of which the first three do not count.
        device: as main.py's.
    """
    if epochs <= WARM_UP:
        raise ValueError(f"--epochs must be above {WARM_UP}, got {epochs}")
    where = find_device(device)
    with TemporaryDirectory() as folder:
        options = ["--model", model, "--loss", loss, "--precision", precision]
        options += ["--epochs", str(epochs), "--device", str(where)]
        options += ["--runs", str(Path(folder) / "runs")]
        if images is not None:
            write_pictures(Path(folder), images)
            options += ["--data", folder, "--protocol", "paper", "--ood", "noise"]
        with timed(HALVES | PARTS) as seconds:
            if status := program.main(options):
                raise SystemExit(status)
    # `seconds` has a number for each epoch.
    parts = {part: 1000 * mean(durations[WARM_UP:]) for part, durations in seconds.items()}
    whole = sum(parts.pop(half) for half in HALVES)
    parts["copy of the best weights, and the rest"] = whole - sum(parts.values())
    rows = [
        {"part": part, "ms": f"{duration:.2f}", "share": f"{duration / whole:.1%}"}
        for part, duration in parts.items()
    ]
    data = f"{images:,} images" if images is not None else "the digits"
    title = f"An epoch of {model} with {loss} on {data}, {precision}, mean of {epochs - WARM_UP}"
    show(title, where, rows)


if __name__ == "__main__":
    start(main, __doc__)
