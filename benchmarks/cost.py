#!/usr/bin/env python3
"""On paper: the operations and bytes of an epoch and of the whole of Table 2, and what they take on a GPU. NOT MEASURED."""

import torch
from tabulate import tabulate

from losses import LOSSES
from models import build_model, model_title

from .ceiling import flops as flops_of
from .common import check_positive, start

IMAGES, EPOCHS, SEEDS, DATA_SETS = 50_000, 300, 5, 2  # of a run, of a cell, of the table
METHODS = ("softmax", "isomax", "isomaxplus", "dismax", "dismax_nofpr")  # those whose steps cost alike
NETWORKS = ("densenetbc100", "resnet34", "wideresnet2810")
BATCH = 64


def bytes_of_step(name: str) -> int:
    """Bytes that a training step's layers read and write.

    They count every layer's input and output once, in bf16, twice that for the backward pass, and the parameters' reads and
    writes by the optimizer in float32: what would move if nothing were kept in caches and nothing fused.
    """
    model = build_model(name, 100, LOSSES["dismax"].head)
    moved = 0

    def count(module, inputs, output):
        nonlocal moved
        moved += 2 * (sum(tensor.numel() for tensor in inputs) + output.numel())

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    model(torch.randn(2, 3, 32, 32))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return moved * 3 * BATCH // 2 + 4 * 5 * parameters


def main(
    gpu: str = "NVIDIA A100",
    peak_tflops: float = 312.0,
    bandwidth_gbs: float = 1555.0,
    utilisation: float = 0.3,
    images_per_second: tuple[float, float, float] | None = None,
) -> None:
    """Print operations, bytes, and hours.

    Args:
        gpu: what the two numbers below are of.
        peak_tflops: its bf16 peak without sparsity, as its maker gives it.
        bandwidth_gbs: its memory's, likewise.
        utilisation: the share of whichever of the two bounds a network that is taken to be reached.
        images_per_second: measured rates of the three networks, in place of that estimate.
    """
    check_positive(peak_tflops=peak_tflops, bandwidth_gbs=bandwidth_gbs, utilisation=utilisation)
    for rate in images_per_second or ():
        check_positive(images_per_second=rate)
    rows, total, steps = [], 0.0, -(-IMAGES // BATCH)
    for i, name in enumerate(NETWORKS):
        flops, moved = BATCH * flops_of(name, True), bytes_of_step(name)
        by_arithmetic, by_memory = flops / (peak_tflops * 1e12), moved / (bandwidth_gbs * 1e9)
        bound = "arithmetic" if by_arithmetic > by_memory else "memory"
        seconds = IMAGES / images_per_second[i] if images_per_second else steps * max(by_arithmetic, by_memory) / utilisation
        hours = seconds * EPOCHS / 3600
        total += hours * len(METHODS) * SEEDS * DATA_SETS
        rows.append(
            {
                "network": model_title(name),
                "PFLOP an epoch": f"{flops * steps / 1e15:.2f}",
                "TB an epoch": f"{moved * steps / 1e12:.2f}",
                "bound": "as measured" if images_per_second else bound,
                "s an epoch": f"{seconds:.0f}",
                "h a run": f"{hours:.1f}",
            }
        )
    how = (
        f"at {images_per_second} images/s"
        if images_per_second
        else f"at {utilisation:.0%} of {peak_tflops:g} TFLOP/s or {bandwidth_gbs:g} GB/s"
    )
    print(f"ON PAPER, NOT MEASURED: one {gpu}, {how}; batches of {BATCH}, {IMAGES:,} images, {EPOCHS} epochs\n")
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))
    runs = len(NETWORKS) * len(METHODS) * SEEDS * DATA_SETS
    matrix = f"{len(NETWORKS)} networks × {DATA_SETS} data sets × {len(METHODS)} losses × {SEEDS} seeds = {runs} runs"
    print(f"\nAll of it ({matrix}): {total:,.0f} GPU hours")


if __name__ == "__main__":
    start(main, __doc__)
