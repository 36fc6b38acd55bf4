#!/usr/bin/env python3
"""Training through main.py against a plain and a compiled PyTorch loop: images/s, and where
main.py's epoch goes.
"""

import multiprocessing
import time
from collections.abc import Callable
from functools import cache, partial
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import nn

import main as program
from models import build_model
from training.build import build
from training.trainer import Trainer
from utils.runtime import find_device

from .ceiling import ceiling, flops
from .common import (
    check_models,
    check_positive,
    in_turns,
    pictures,
    show,
    start,
    timed,
    usual_loader,
    write_pictures,
)

BATCH = 64


@cache
def plain_loop(name: str, images: int, device: str) -> Callable[[], None]:
    """An epoch as one writes it: DataLoader, PIL transforms, nn.Linear, cross-entropy, float32,
    NCHW.
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
    """An epoch as a good user writes it today: channels last, bf16, a fused optimizer, and
    torch.compile with CUDA graphs.

    It always takes the same batch, which is on the device already, so it loads no data. No step
    waits for a value.
    """
    model = build_model(name, 10, nn.Linear).to(device, memory_format=torch.channels_last)
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
    """Train one epoch of a loop, to the end of its work on a GPU.

    A function that another process can be given.
    """
    loop(*arguments)()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # the clock waits for the work of its own process only


def trainer_of(name: str, folder: Path, precision: str, device: str, *options: str) -> Trainer:
    """main.py's trainer of a run with DisMax and FPR, on the images in `folder`."""
    given = [
        "--data",
        str(folder),
        "--model",
        name,
        "--loss",
        "dismax",
        "--precision",
        precision,
        "--protocol",
        "paper",
    ]
    config = program.parse([*given, "--ood", "noise", "--runs", str(folder / "runs"), *options])
    return build(config, torch.device(device)).trainer


def started_by_host(trainer: Trainer) -> int:
    """Kernels, copies and graphs that the host starts on a GPU in a training step."""
    calls = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA]) as profile:
        trainer.run_epoch(lambda *_: None)
    return round(
        sum(event.name.startswith(calls) for event in profile.events()) / len(trainer.batches.sizes)
    )


def shares_of_epoch(trainer: Trainer) -> dict[str, float]:
    """The shares of an epoch's time, on a CPU, of the network's forward and backward pass, the
    optimizer's step, and all else.
    """
    places = {
        "forward": (trainer.model, "forward"),
        "backward": (torch.Tensor, "backward"),
        "optimizer": (trainer.optimizer, "step"),
    }
    with timed(places) as taken:
        started = time.perf_counter()
        trainer.run_epoch(lambda *_: None)
        whole = time.perf_counter() - started
    shares = {part: sum(seconds) / whole for part, seconds in taken.items()}
    return shares | {"all else": 1 - sum(shares.values())}


def sides_of(
    name: str, images: int, where: torch.device, folder: Path, other: Pool, compiled: bool
) -> tuple[dict[str, Callable[[], object]], dict[str, Trainer]]:
    """What is compared, and main.py's trainers among it, both by title."""
    given, variants = (name, images, str(where)), [()]
    sides: dict[str, Callable[[], object]] = {
        "plain loop": partial(other.apply, take_epoch, (plain_loop, *given))
    }
    if where.type == "cuda":
        variants.append(("--cuda-graph", "off"))
    if compiled:
        sides["compiled loop bf16"] = partial(other.apply, take_epoch, (compiled_loop, *given))
        variants.append(("--compile",))
    trainers = {
        " ".join(("main.py", *options, precision)): trainer_of(
            name, folder, precision, str(where), *options
        )
        for options in variants
        for precision in ("fp32", "bf16")
    }
    return sides | {
        title: partial(trainer.run_epoch, lambda *_: None) for title, trainer in trainers.items()
    }, trainers


def row_of(
    name: str, side: str, rate: float, plain: float, peak: dict[str, float]
) -> dict[str, object]:
    """A network's row for one side, with its images/s, those of the plain loop, and each
    precision's ceiling.
    """
    operations = flops(name, True) * rate
    return {
        "network, loop": f"{name}, {side}",
        "images/s": f"{rate:,.1f}",
        "ratio": f"{rate / plain:.2f}",
        "GFLOP/s": f"{operations / 1e9:,.0f}",
        "of ceiling": f"{operations / peak['bf16' if side.endswith('bf16') else 'fp32']:.0%}",
        "300 epochs, h": f"{300 * 50_000 / rate / 3600:.2f}",
    }


def main(
    models: tuple[str, ...] = ("resnet34", "densenetbc100"),
    images: int = 256,
    repeats: int = 5,
    device: str = "auto",
    compiled: bool = False,
) -> None:
    """Print the images/s of a usual training loop and of main.py in float32 and bf16, and the
    shares of main.py's epoch.

    The hours are what 300 epochs of 50,000 images take at the measured rate. No such run was made.

    Args:
        models: networks.
        images: in an epoch.
        repeats: epochs of each side.
        device: as main.py's.
        compiled: also measure main.py with --compile, and a loop with torch.compile; compiling
            takes minutes.
    """
    check_models(models)
    check_positive(repeats=repeats)
    if compiled and images % BATCH:
        raise ValueError(
            f"--compiled takes whole batches: --images must be a multiple of {BATCH}, got {images}"
        )
    where, rates, parts = find_device(device), [], []
    # The other loops have a process of their own, where main.py's settings of the C library and of
    # torch change nothing.
    with TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as other:
        write_pictures(Path(folder), images)
        peak = {
            name: ceiling(dtype, where, True, repeats)
            for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
        }
        for name in models:
            sides, trainers = sides_of(name, images, where, Path(folder), other, compiled)
            measured = {
                side: images / seconds
                for side, seconds in in_turns(sides, repeats, seconds=0).items()
            }
            for side, rate in measured.items():
                rates.append(row_of(name, side, rate, measured["plain loop"], peak))
                if where.type == "cuda":
                    rates[-1]["host calls a step"] = (
                        started_by_host(trainers[side]) if side in trainers else ""
                    )
            if where.type == "cpu":
                split = shares_of_epoch(trainers["main.py fp32"])
                parts.append(
                    {"network": name} | {part: f"{share:.2%}" for part, share in split.items()}
                )
    known = ", ".join(f"{precision} {rate / 1e9:,.0f} GFLOP/s" for precision, rate in peak.items())
    show(
        f"Training, batches of {BATCH}, {images} images (ceiling: a 3×3 convolution, {known})",
        where,
        rates,
    )
    if parts:
        show("Where an epoch of main.py goes, float32", where, parts)


if __name__ == "__main__":
    start(main, __doc__)
