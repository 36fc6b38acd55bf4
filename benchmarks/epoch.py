#!/usr/bin/env python3
"""Where a whole epoch of main.py goes: its training steps, the evaluation that follows, and what is kept."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Literal
from unittest.mock import patch

import numpy as np

import main as program
from run import Run
from session import Session
from utils import records
from utils.runtime import find_device
from utils.training import Trainer

from .common import check_positive, pictures, show, start

WARM_UP = 3  # epochs that do not count
PARTS = {"training steps": (Trainer, "run_epoch"), "evaluation": (Run, "accuracy"), "log": (records, "write_lines")}


def measured(arguments: list[str]) -> dict[str, list[float]]:
    """The seconds of each part of main.py's run of these arguments, an entry an epoch. "whole" is all of it."""
    seconds: dict[str, list[float]] = {part: [] for part in ("whole", *PARTS)}

    def timed(part: str, function: Callable) -> Callable:
        def call(*given, **options):
            started = time.perf_counter()
            result = function(*given, **options)
            seconds[part].append(time.perf_counter() - started)
            return result

        return call

    def train_epoch(session: Session) -> None:
        train_epoch.started = time.perf_counter()
        own_train_epoch(session)

    def judge_epoch(session: Session) -> None:
        own_judge_epoch(session)
        seconds["whole"].append(time.perf_counter() - train_epoch.started)

    own_train_epoch, own_judge_epoch = Session._train_epoch, Session._judge_epoch
    with ExitStack() as stack:
        stack.enter_context(patch.object(Session, "_train_epoch", train_epoch))
        stack.enter_context(patch.object(Session, "_judge_epoch", judge_epoch))
        for part, (owner, name) in PARTS.items():
            stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        if status := program.main(arguments):
            raise SystemExit(status)
    return seconds


def main(
    model: str = "smallcnn",
    images: int | None = None,
    loss: str = "dismax",
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    epochs: int = 20,
    device: str = "auto",
) -> None:
    """Print the mean milliseconds of an epoch's parts, and their shares.

    Each part ends with a value that the device gives, so that a GPU is waited for.

    Args:
        model: the network.
        images: random training images of 32 pixels, and a fifth as many to evaluate on (as CIFAR's). By default the digits.
        loss: as main.py's.
        precision: as main.py's.
        epochs: of which the first three do not count.
        device: as main.py's.
    """
    if epochs <= WARM_UP:
        raise ValueError(f"--epochs must be above {WARM_UP}, got {epochs}")
    if images is not None:
        check_positive(images=images)
    where = find_device(device)
    with TemporaryDirectory() as folder:
        given = ["--model", model, "--loss", loss, "--precision", precision, "--epochs", str(epochs), "--device", str(where)]
        if images:
            for split, count in (("train", images), ("test", images // 5)):
                pixels, labels = pictures(count)
                np.savez(Path(folder) / f"{split}.npz", images=pixels, labels=labels)
            given += ["--data", folder, "--protocol", "paper", "--ood", "noise"]
        taken = measured([*given, "--runs", str(Path(folder) / "runs")])
    parts = {part: 1000 * mean(seconds[WARM_UP:epochs]) for part, seconds in taken.items()}
    whole = parts.pop("whole")
    parts["copy of the best weights, and the rest"] = whole - sum(parts.values())
    rows = [{"part": part, "ms": f"{each:.2f}", "share": f"{each / whole:.1%}"} for part, each in parts.items()]
    data = f"{images:,} images" if images else "the digits"
    title = f"An epoch of {model} with {loss} on {data}, {precision}, mean of {epochs - WARM_UP}"
    show(title, where, rows)


if __name__ == "__main__":
    start(main, __doc__)
