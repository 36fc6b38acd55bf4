#!/usr/bin/env python3
"""How long the runs of the paper's Table 2 take on a GPU.

The estimate is from operations and bytes, or from rates that were measured.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from tabulate import tabulate

from losses import LOSSES
from models import build_model, model_title

from .ceiling import flops as flops_of
from .common import check_positive, start

IMAGES, EPOCHS = 50_000, 300  # of a run
SEEDS, DATA_SETS = 5, 2  # of the table
# These methods' steps take equally long.
METHODS = ("softmax", "isomax", "isomaxplus", "dismax", "dismax_nofpr")
RUNS = DATA_SETS * len(METHODS) * SEEDS  # of each network
NETWORKS = ("densenetbc100", "resnet34", "wideresnet2810")
BATCH = 64


@cache
def bytes_of_step(name: str) -> int:
    """Return the bytes that a training step reads and writes.

    Every layer's input and output count once, in bf16, and twice more for the backward pass. The
    optimizer's reads and writes of the parameters count in float32. This assumes that caches hold
    nothing and that no operations are fused.
    """
    model = build_model(name, 100, LOSSES["dismax"].head)
    transferred = 0

    def count(module, inputs, output):
        nonlocal transferred
        transferred += 2 * (sum(tensor.numel() for tensor in inputs) + output.numel())

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    model(torch.randn(2, 3, 32, 32))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return transferred * 3 * BATCH // 2 + 4 * 5 * parameters


def estimated_rates(peak_tflops: float, bandwidth_gbs: float, utilisation: float) -> list[float]:
    """Return each network's images/s at this share of a GPU's limit.

    The limit is the arithmetic or the memory bandwidth, whichever is slower.
    """
    rates = []
    for name in NETWORKS:
        seconds = max(
            BATCH * flops_of(name, True) / (peak_tflops * 1e12),
            bytes_of_step(name) / (bandwidth_gbs * 1e9),
        )
        rates.append(utilisation * BATCH / seconds)
    return rates


def days(rates: Sequence[float]) -> list[float]:
    """Return the days that each network's runs take at its images/s."""
    return [RUNS * EPOCHS * IMAGES / rate / 86_400 for rate in rates]


def print_table(title: str, rates: Sequence[float], ways: Mapping[str, Sequence[float]]) -> None:
    """Print a row for each network, and the days of all runs.

    Args:
        title: the first line.
        rates: each network's images/s.
        ways: column → the days of each network's runs.
    """
    steps = -(-IMAGES // BATCH)
    rows = []
    for i, name in enumerate(NETWORKS):
        row = {
            "network": model_title(name),
            "PFLOP an epoch": f"{steps * BATCH * flops_of(name, True) / 1e15:.2f}",
            "TB an epoch": f"{steps * bytes_of_step(name) / 1e12:.2f}",
            "images/s": f"{rates[i]:,.0f}",
            "h a run": f"{EPOCHS * IMAGES / rates[i] / 3600:.1f}",
        }
        rows.append(row | {f"days, {way}": f"{numbers[i]:.1f}" for way, numbers in ways.items()})
    print(title)
    print(
        f"Runs of {EPOCHS} epochs of {IMAGES:,} images, batches of {BATCH}; of each network "
        f"{RUNS} runs:"
    )
    print(f"{DATA_SETS} data sets × {len(METHODS)} losses × {SEEDS} seeds\n")
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))
    sums = (f"{sum(numbers):,.1f} {way}" for way, numbers in ways.items())
    print(f"\nAll of it, in days: {', '.join(sums)}")


def main(
    gpu: str = "NVIDIA A100",
    peak_tflops: float = 312.0,
    bandwidth_gbs: float = 1555.0,
    utilisation: float = 0.3,
    images_per_second: tuple[float, float, float] | None = None,
    together: tuple[float, float, float] | None = None,
) -> None:
    """Print operations, bytes and days.

    Args:
        gpu: the name of the GPU.
        peak_tflops: its peak in bf16 without sparsity, from its data sheet.
        bandwidth_gbs: its memory bandwidth, from its data sheet.
        utilisation: the share of the peak or of the bandwidth that runs are assumed to reach,
            whichever limits the network.
        images_per_second: the networks' measured rates (benchmarks.training), instead of the
            estimate.
        together: the same for several runs at once, summed (benchmarks.together).
    """
    check_positive(peak_tflops=peak_tflops, bandwidth_gbs=bandwidth_gbs, utilisation=utilisation)
    if utilisation > 1:
        raise ValueError(f"--utilisation is a share, so it must be 1 or less, got {utilisation}")
    for rate in images_per_second or ():
        check_positive(images_per_second=rate)
    for rate in together or ():
        check_positive(together=rate)
    if together and not images_per_second:
        raise ValueError("--together needs --images-per-second, the rates of one run at a time")
    rates = images_per_second or estimated_rates(peak_tflops, bandwidth_gbs, utilisation)
    ways = {"one at a time": days(rates)}
    if together:
        ways["several at once"] = days(together)
    if images_per_second:
        title = f"NOT A RUN: one {gpu}, at rates that were measured"
    else:
        limits = f"{peak_tflops:g} TFLOP/s or {bandwidth_gbs:g} GB/s"
        title = f"ON PAPER, NOT MEASURED: one {gpu}, at {utilisation:.0%} of its {limits}"
    print_table(title, rates, ways)


if __name__ == "__main__":
    start(main, __doc__)
