#!/usr/bin/env python3
"""Inference efficiency, as the paper's table has it: images/s of a network with each loss, of those with SoftMax."""

from collections.abc import Callable

import torch
from torch import nn

from losses import LOSSES
from models import Network, build_model
from utils.runtime import PRECISIONS, autocast, fastest_precision, find_device, keep_freed_memory

from .ceiling import ceiling, flops
from .common import check_positive, in_turns, show, start

METHODS = ("softmax", "isomaxplus", "dismax")


def inference(network: Network, head: nn.Module, images: torch.Tensor, precision: str) -> Callable[[], torch.Tensor]:
    """A function that gives a batch's scores, the head's own."""

    @torch.inference_mode()
    def call() -> torch.Tensor:
        with autocast(images.device, precision):
            return head.scores(head(network.forward_features(images)))

    return call


def main(
    models: tuple[str, ...] = ("densenetbc100", "resnet34", "wideresnet2810"),
    classes: int = 100,
    batch: int = 100,
    repeats: int = 15,
    precision: str = "auto",
    device: str = "auto",
) -> None:
    """Print images/s with SoftMax, and the others' as shares of it."""
    check_positive(classes=classes, batch=batch)
    keep_freed_memory()  # as main.py does
    where = find_device(device)
    precision = fastest_precision(where) if precision == "auto" else precision
    images = torch.randn(batch, 3, 32, 32, device=where).to(memory_format=torch.channels_last)
    peak = ceiling(PRECISIONS[precision], where, False)
    rows = []
    for name in models:
        network = build_model(name, classes, LOSSES["softmax"].head).to(where, memory_format=torch.channels_last).eval()
        sides = {}
        for method in METHODS:  # one network, so that only the heads differ
            head = LOSSES[method].head(network.num_features, classes).to(where).eval()
            sides[LOSSES[method].title] = inference(network, head, images, precision)
        taken = in_turns(sides, repeats, seconds=0)
        plain = taken.pop("SoftMax")
        row = {"network": name, "SoftMax images/s": f"{batch / plain:.1f}"}
        row["of ceiling"] = f"{flops(name, False) * batch / plain / peak:.0%}"
        rows.append(row | {method: f"{plain / seconds:.1%}" for method, seconds in taken.items()})
    title = f"Inference with scores, batches of {batch}, {classes} classes, {precision}: shares of SoftMax's images/s"
    show(f"{title} (ceiling: a 3×3 convolution, {peak / 1e9:.0f} GFLOP/s)", where, rows)


if __name__ == "__main__":
    start(main, __doc__)
