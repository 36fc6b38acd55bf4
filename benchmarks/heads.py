#!/usr/bin/env python3
"""Measures heads with their losses against nn.Linear with cross-entropy, forward and backward."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from losses import LOSSES
from utils.runtime import find_device, keep_freed_memory

from .common import in_turns, show, start

# Batch, features, classes.
SHAPES = ((64, 342, 10), (64, 512, 100), (256, 512, 1000), (256, 2048, 1000))


def step(
    head: nn.Module, criterion: nn.Module, features: Tensor, targets: Tensor
) -> Callable[[], None]:
    """Return a function that does a head's share of a training step.

    That is the loss, and the gradients of the head's parameters and of the features.
    """

    def call() -> None:
        inputs = features.detach().requires_grad_()
        head.zero_grad()
        criterion(head(inputs), targets).backward()

    return call


def main(device: str = "auto", repeats: int = 15) -> None:
    """Print the time of nn.Linear with cross-entropy, and those of the others as ratios to it."""
    keep_freed_memory()  # as main.py does
    where = find_device(device)
    rows = []
    for batch, features, classes in SHAPES:
        x = torch.randn(batch, features, device=where)
        y = torch.randint(classes, (batch,), device=where)
        linear = nn.Linear(features, classes).to(where)
        sides = {"nn.Linear": step(linear, nn.CrossEntropyLoss(), x, y)}
        for name in ("softmax", "isomax", "isomaxplus", "dismax_nofpr"):
            head = LOSSES[name].head(features, classes).to(where)
            sides[LOSSES[name].title] = step(head, LOSSES[name].criterion(head), x, y)
        seconds = in_turns(sides, repeats)
        reference = seconds.pop("nn.Linear")
        row = {
            "batch, features, classes": f"{batch}, {features}, {classes}",
            "nn.Linear µs": f"{reference * 1e6:.0f}",
        }
        ratios = {title: f"{duration / reference:.2f}" for title, duration in seconds.items()}
        rows.append(row | ratios)
    show(
        "Head and loss, forward and backward, float32: times nn.Linear and cross-entropy",
        where,
        rows,
    )


if __name__ == "__main__":
    start(main, __doc__)
