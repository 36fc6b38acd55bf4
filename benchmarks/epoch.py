#!/usr/bin/env python3
"""Where a whole epoch of main.py goes: its training steps, the evaluation that follows, and what is
kept.
"""

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
# An epoch is both.
HALVES = {"training": (Session, "_train_epoch"), "judging": (Session, "_judge_epoch")}
PARTS = {
    "training steps": (Trainer, "run_epoch"),
    "evaluation": (Run, "accuracy"),
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

    Training and evaluation end when the host reads a value from the device, so a GPU's work is in
    them.

    Args:
        model: the network.
        images: this many random training images of 32 pixels, and a fifth as many to evaluate on.
            By default the digits.
        loss: as main.py's.
        precision: as main.py's.
        epochs: the first three do not count.
        device: as main.py's.
    """
    if epochs <= WARM_UP:
        raise ValueError(f"--epochs must be above {WARM_UP}, got {epochs}")
    where = find_device(device)
    with TemporaryDirectory() as folder:
        given = [
            "--model",
            model,
            "--loss",
            loss,
            "--precision",
            precision,
            "--epochs",
            str(epochs),
            "--device",
            str(where),
        ]
        if images is not None:
            write_pictures(Path(folder), images)
            given += ["--data", folder, "--protocol", "paper", "--ood", "noise"]
        with timed(HALVES | PARTS) as seconds:
            if status := program.main([*given, "--runs", str(Path(folder) / "runs")]):
                raise SystemExit(status)
    # An entry an epoch.
    parts = {part: 1000 * mean(taken[WARM_UP:]) for part, taken in seconds.items()}
    whole = sum(parts.pop(half) for half in HALVES)
    parts["copy of the best weights, and the rest"] = whole - sum(parts.values())
    rows = [
        {"part": part, "ms": f"{each:.2f}", "share": f"{each / whole:.1%}"}
        for part, each in parts.items()
    ]
    data = f"{images:,} images" if images is not None else "the digits"
    title = f"An epoch of {model} with {loss} on {data}, {precision}, mean of {epochs - WARM_UP}"
    show(title, where, rows)


if __name__ == "__main__":
    start(main, __doc__)
