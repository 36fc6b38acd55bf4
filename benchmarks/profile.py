#!/usr/bin/env python3
"""Prints the share of each kind of operation in the time of a training step and of inference."""

import re
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from models import build_model
from utils.runtime import autocast, find_device, keep_freed_memory

from .common import check_positive, show, start

KINDS = {  # kind of operation → pattern of the operations' names
    "convolution": r"conv",
    "batch norm": r"batch_norm",
    "ReLU": r"relu|threshold|clamp_min",
    "concatenation": r"::(cat|slice|narrow)",
    "additions": r"::add_?$",  # of shortcuts, or of the gradients of a tensor that is used twice
    "casts and copies": r"copy|clone|contiguous",
}


def shares_of_kinds(
    work: Callable[[], object], device: torch.device, repeats: int
) -> tuple[float, dict[str, float]]:
    """Return the milliseconds of a call, and the share of each kind of operation in them."""
    for _ in range(3):
        work()
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(repeats):
            work()
    times = dict.fromkeys([*KINDS, "all else"], 0.0)
    for event in profiler.key_averages():
        kind = next(
            (kind for kind, names in KINDS.items() if re.search(names, event.key)), "all else"
        )
        times[kind] += (
            event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        )
    whole = sum(times.values())
    return whole / repeats / 1000, {kind: time / whole for kind, time in times.items()}


def main(
    models: tuple[str, ...] = ("resnet34", "densenetbc100"),
    precisions: tuple[str, ...] = ("fp32", "bf16"),
    batch: int = 64,
    repeats: int = 3,
    device: str = "auto",
) -> None:
    """Print a row for each network and precision, for training and for inference."""
    check_positive(batch=batch, repeats=repeats)
    keep_freed_memory()  # as main.py does
    where = find_device(device)
    images = torch.randn(batch, 3, 32, 32, device=where).to(memory_format=torch.channels_last)
    rows = []
    for name in models:
        model = build_model(name, 10, nn.Linear).to(where)
        model = model.to(memory_format=torch.channels_last)
        for precision in precisions:

            def training(model=model, precision=precision) -> None:
                with autocast(where, precision):
                    outputs = model.train()(images)
                outputs.float().logsumexp(1).sum().backward()

            @torch.inference_mode()
            def inference(model=model, precision=precision) -> None:
                with autocast(where, precision):
                    model.eval()(images)

            for mode, work in (("training", training), ("inference", inference)):
                milliseconds, shares = shares_of_kinds(work, where, repeats)
                row = {"network": f"{name}, {mode}, {precision}", "ms": f"{milliseconds:.0f}"}
                rows.append(row | {kind: f"{share:.0%}" for kind, share in shares.items()})
    show(
        f"Shares of the time in operations, batches of {batch}, without the optimizer's step",
        where,
        rows,
    )


if __name__ == "__main__":
    start(main, __doc__)
