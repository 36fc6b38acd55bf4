#!/usr/bin/env python3
"""Where a network's time goes: the shares of its kinds of operations in a training step and in
inference.
"""

import re
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from models import build_model
from utils.runtime import autocast, find_device, keep_freed_memory

from .common import check_positive, show, start

KINDS = {  # of operations, by their names
    "convolution": r"conv",
    "batch norm": r"batch_norm",
    "ReLU": r"relu|threshold|clamp_min",
    "concatenation": r"::(cat|slice|narrow)",
    "additions": r"::add_?$",  # of a shortcut, or of the gradients of what is used twice
    "casts and copies": r"copy|clone|contiguous",
}


def shares_of_kinds(
    work: Callable[[], object], device: torch.device, repeats: int
) -> tuple[float, dict[str, float]]:
    """Milliseconds of a call, and the share of each kind of operation in them."""
    for _ in range(3):
        work()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities) as profiler:
        for _ in range(repeats):
            work()
    taken = dict.fromkeys([*KINDS, "all else"], 0.0)
    for event in profiler.key_averages():
        kind = next(
            (kind for kind, names in KINDS.items() if re.search(names, event.key)), "all else"
        )
        taken[kind] += (
            event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        )
    whole = sum(taken.values())
    return whole / repeats / 1000, {kind: time / whole for kind, time in taken.items()}


def main(
    models: tuple[str, ...] = ("resnet34", "densenetbc100"),
    precisions: tuple[str, ...] = ("fp32", "bf16"),
    batch: int = 64,
    repeats: int = 3,
    device: str = "auto",
) -> None:
    """Print a row for each network, precision, and training or inference."""
    check_positive(batch=batch, repeats=repeats)
    keep_freed_memory()  # as main.py does
    where = find_device(device)
    images = torch.randn(batch, 3, 32, 32, device=where).to(memory_format=torch.channels_last)
    rows = []
    for name in models:
        model = build_model(name, 10, nn.Linear).to(where, memory_format=torch.channels_last)
        for precision in precisions:

            def training(model=model, precision=precision) -> None:
                with autocast(where, precision):
                    outputs = model.train()(images)
                outputs.float().logsumexp(1).sum().backward()

            @torch.inference_mode()
            def inference(model=model, precision=precision) -> None:
                with autocast(where, precision):
                    model.eval()(images)

            for what, work in (("training", training), ("inference", inference)):
                milliseconds, parts = shares_of_kinds(work, where, repeats)
                row = {"network": f"{name}, {what}, {precision}", "ms": f"{milliseconds:.0f}"}
                rows.append(row | {kind: f"{share:.0%}" for kind, share in parts.items()})
    show(
        f"Shares of the time in operations, batches of {batch}, without the optimizer's step",
        where,
        rows,
    )


if __name__ == "__main__":
    start(main, __doc__)
