"""Training loops in plain PyTorch, which benchmarks/training.py compares main.py with."""

from collections.abc import Callable
from concurrent.futures import Executor
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from models import build_model

from .common import pictures, usual_loader

BATCH = 64


@cache
def plain_loop(name: str, images: int, device: str) -> Callable[[], None]:
    """Return a function that trains one epoch as a simple script does.

    It has a DataLoader with PIL transforms, nn.Linear and cross-entropy, in float32, NCHW.
    """
    loader = usual_loader(*pictures(images), BATCH)
    model = build_model(name, 10, nn.Linear).to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )

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


@cache
def compiled_loop(name: str, images: int, device: str) -> Callable[[], None]:
    """Return a function that trains one epoch as an expert's script does.

    It is channels last, in bf16, with a fused optimizer and torch.compile with CUDA graphs. Every
    step takes the same batch, which is on the device already, so no data is loaded. No step waits
    for a value.
    """
    model = build_model(name, 10, nn.Linear).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True
    )
    compiled = torch.compile(model, mode="reduce-overhead")
    inputs = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(
        memory_format=torch.channels_last
    )
    targets = torch.arange(BATCH, device=device) % 10

    def epoch() -> None:
        model.train()
        for _ in range(images // BATCH):
            with torch.autocast(inputs.device.type, torch.bfloat16):
                loss = F.cross_entropy(compiled(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def take_epoch(loop: Callable[..., Callable[[], None]], *arguments) -> None:
    """Train one epoch of a loop, and wait for the GPU. Can run in another process."""
    loop(*arguments)()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # the clock is in another process, which does not wait


def loops_of(
    name: str, images: int, where: torch.device, process: Executor, compiled: bool
) -> dict[str, Callable[[], object]]:
    """Return the functions that train an epoch of the other loops in another process, by title."""

    def epoch_of(loop: Callable) -> Callable[[], object]:
        return lambda: process.submit(take_epoch, loop, name, images, str(where)).result()

    loops = {"plain loop": epoch_of(plain_loop)}
    if compiled:
        loops["compiled loop bf16"] = epoch_of(compiled_loop)
    return loops
