#!/usr/bin/env python3
"""Heads with their losses, forward and backward, against nn.Linear with cross-entropy."""

import torch
from torch import nn

from losses import LOSSES
from utils.runtime import find_device, keep_freed_memory

from .common import in_turns, show, start

# Batch, features, classes.
SHAPES = ((64, 342, 10), (64, 512, 100), (256, 512, 1000), (256, 2048, 1000))


def step(head: nn.Module, criterion: nn.Module, features: torch.Tensor, targets: torch.Tensor):
    """A function that does what a training step asks of a head: the loss, and its parameters' and
    the features' gradients.
    """

    def call() -> None:
        inputs = features.detach().requires_grad_()
        head.zero_grad()
        criterion(head(inputs), targets).backward()

    return call


def main(device: str = "auto", repeats: int = 15) -> None:
    """Print the times of nn.Linear with cross-entropy, and the others' as ratios to it."""
    keep_freed_memory()  # as main.py does
    where = find_device(device)
    rows = []
    for batch, features, classes in SHAPES:
        x, y = (
            torch.randn(batch, features, device=where),
            torch.randint(classes, (batch,), device=where),
        )
        sides = {
            "nn.Linear": step(nn.Linear(features, classes).to(where), nn.CrossEntropyLoss(), x, y)
        }
        for name in ("softmax", "isomax", "isomaxplus", "dismax_nofpr"):
            head = LOSSES[name].head(features, classes).to(where)
            sides[LOSSES[name].title] = step(head, LOSSES[name].criterion(head), x, y)
        taken = in_turns(sides, repeats)
        plain = taken.pop("nn.Linear")
        ratios = {name: f"{seconds / plain:.2f}" for name, seconds in taken.items()}
        rows.append(
            {
                "batch, features, classes": f"{batch}, {features}, {classes}",
                "nn.Linear µs": f"{plain * 1e6:.0f}",
            }
            | ratios
        )
    show(
        "Head and loss, forward and backward, float32: times nn.Linear and cross-entropy",
        where,
        rows,
    )


if __name__ == "__main__":
    start(main, __doc__)
