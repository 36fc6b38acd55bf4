#!/usr/bin/env python3
"""Training through main.py against a plain PyTorch loop: images/s, and where main.py's epoch goes."""

import multiprocessing
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import main as program
from models import build_model
from utils.runtime import find_device

from .ceiling import ceiling, flops
from .common import in_turns, pictures, show, start, usual_loader

BATCH = 64


@cache
def plain_loop(name: str, images: int, device: str) -> Callable[[], None]:
    """An epoch as one writes it: DataLoader, PIL transforms, nn.Linear, cross-entropy, float32, NCHW."""
    loader = usual_loader(*pictures(images), BATCH)
    model = build_model(name, 10, nn.Linear).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)

    def epoch() -> None:
        model.train()
        total = 0.0
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch


def plain_epoch(*arguments) -> None:
    """An epoch of the plain loop of these arguments."""
    plain_loop(*arguments)()


def trainer_of(name: str, folder: Path, precision: str, device: str):
    """main.py's trainer of a run, with the head and loss whose cost is to be shown: DisMax with FPR."""
    given = ["--data", str(folder), "--model", name, "--loss", "dismax", "--precision", precision, "--protocol", "paper"]
    config = program.parse([*given, "--ood", "noise", "--runs", str(folder / "runs")])
    return program.build(config, torch.device(device)).trainer


def shares_of_epoch(trainer) -> dict[str, float]:
    """The shares of an epoch's time, on a CPU, of the network's forward and backward pass, the optimizer's step, and all else."""
    taken = dict.fromkeys(("forward", "backward", "optimizer"), 0.0)

    def timed(part: str, function: Callable) -> Callable:
        def call(*arguments, **options):
            started = time.perf_counter()
            result = function(*arguments, **options)
            taken[part] += time.perf_counter() - started
            return result

        return call

    with (
        patch.object(trainer.model, "forward", timed("forward", trainer.model.forward)),
        patch.object(torch.Tensor, "backward", timed("backward", torch.Tensor.backward)),
        patch.object(trainer.optimizer, "step", timed("optimizer", trainer.optimizer.step)),
    ):
        started = time.perf_counter()
        trainer.run_epoch(lambda *_: None)
        whole = time.perf_counter() - started
    return {part: seconds / whole for part, seconds in taken.items()} | {"all else": 1 - sum(taken.values()) / whole}


def main(
    models: tuple[str, ...] = ("resnet34", "densenetbc100"), images: int = 256, repeats: int = 5, device: str = "auto"
) -> None:
    """Print images/s of the plain loop and of main.py in float32 and bf16, and the shares of main.py's epoch."""
    where = find_device(device)
    pixels, labels = pictures(images)
    rates, parts = [], []
    peak = {"fp32": ceiling(torch.float32, where, True), "bf16": ceiling(torch.bfloat16, where, True)}
    # A process of its own, which main.py's settings of the C library and of torch neither help nor hinder.
    with TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as other:
        for split in ("train", "test"):
            np.savez(Path(folder) / f"{split}.npz", images=pixels, labels=labels)
        for name in models:
            trainers = {precision: trainer_of(name, Path(folder), precision, str(where)) for precision in ("fp32", "bf16")}
            sides = {"plain loop": partial(other.apply, plain_epoch, (name, images, str(where)))}
            sides |= {f"main.py {p}": lambda t=trainer: t.run_epoch(lambda *_: None) for p, trainer in trainers.items()}
            taken = in_turns(sides, repeats, seconds=0)
            for side, seconds in taken.items():
                reached = flops(name, True) * images / seconds
                rates.append(
                    {
                        "network, loop": f"{name}, {side}",
                        "images/s": f"{images / seconds:.1f}",
                        "ratio": f"{taken['plain loop'] / seconds:.2f}",
                        "GFLOP/s": f"{reached / 1e9:.0f}",
                        "of ceiling": f"{reached / peak['bf16' if side.endswith('bf16') else 'fp32']:.0%}",
                    }
                )
            if where.type == "cpu":
                split = shares_of_epoch(trainers["fp32"])
                parts.append({"network": name} | {part: f"{share:.2%}" for part, share in split.items()})
    known = ", ".join(f"{precision} {rate / 1e9:.0f} GFLOP/s" for precision, rate in peak.items())
    show(f"Training, batches of {BATCH}, {images} images (ceiling: a 3×3 convolution, {known})", where, rates)
    if parts:
        show("Where an epoch of main.py goes, float32", where, parts)


if __name__ == "__main__":
    start(main, __doc__)
