"""Shared by the benchmarks: the command line, the clock, other processes, images and tables."""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from timeit import Timer
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from tabulate import tabulate
from torch.utils.data import DataLoader
from torchvision import transforms

from data.sources import entry_of
from models import model_title
from utils import interruption, program, runtime

HIGHEST = 10**12  # limit of every number in an option; PyTorch's own sizes end at 2^63


def start(main: Callable[..., None], description: str | None) -> None:
    """Run a benchmark with the command line's arguments. Exits with `program.exit_status`.

    Args:
        main: the benchmark. Its arguments are the options.
        description: the first lines of --help.
    """

    @wraps(main)
    def parse(*arguments, **options):
        return partial(main, *arguments, **options)

    spec = sys.modules[main.__module__].__spec__
    name = spec.name if spec else main.__module__
    end_well(lambda: program.read(parse, f"-m {name}", description=description)())


def end_well(work: Callable[[], None]) -> None:
    """Do a benchmark's work. Exits with a status above 0 if an error or a signal ends it."""
    interruption.listen()
    if status := program.exit_status(work, "the table is not complete"):
        sys.exit(status)


def check_positive(**values: float) -> None:
    """Raises ValueError for an option that is not a number above 0 and below `HIGHEST`."""
    for name, value in values.items():
        if not 0 < value < HIGHEST:  # true for NaN
            raise ValueError(
                f"--{name.replace('_', '-')} must be above 0 and below {HIGHEST:,}, got {value}"
            )


def check_models(models: Sequence[str]) -> None:
    """Raises ValueError for a name that is no network's, or if there is no name."""
    if not models:
        raise ValueError("--models names no network: leave it out, or name one")
    for name in models:
        model_title(name)


def clock() -> float:
    """Wait until the GPU has done its work so far, and return the time in seconds."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(
    sides: Mapping[str, Callable[[], object]], repeats: int = 9, seconds: float = 0.2
) -> dict[str, float]:
    """Return the median seconds of a call of each side.

    The sides take turns, so that a slower minute of the machine slows all of them. The clock waits
    for the GPU.

    Args:
        sides: the functions to compare, by name. Each is called twice before it is measured.
        repeats: turns of each side.
        seconds: a turn has as many calls as fit into this time, but at least one.
    """
    check_positive(repeats=repeats)
    timers = {name: Timer(side, timer=clock) for name, side in sides.items()}
    calls = {
        name: max(1, int(seconds / max(min(side.repeat(2, 1)), 1e-9)))
        for name, side in timers.items()
    }
    durations: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in timers.items():
            durations[name].append(side.timeit(calls[name]) / calls[name])
    return {name: statistics.median(values) for name, values in durations.items()}


@contextmanager
def timed(places: Mapping[str, tuple[object, str]]) -> Iterator[dict[str, list[float]]]:
    """Measure the functions that a block calls. Yields the seconds of each call, by name.

    Args:
        places: name → the object or class that has the function, and the function's name there.
    """
    seconds: dict[str, list[float]] = {name: [] for name in places}

    def measured(durations: list[float], function: Callable) -> Callable:
        def call(*arguments, **options):
            started = time.perf_counter()
            result = function(*arguments, **options)
            durations.append(time.perf_counter() - started)
            return result

        return call

    with ExitStack() as stack:
        for name, (owner, attribute) in places.items():
            function = measured(seconds[name], getattr(owner, attribute))
            stack.enter_context(patch.object(owner, attribute, function))
        yield seconds


@contextmanager
def new_processes(count: int = 1, **options: Any) -> Iterator[ProcessPoolExecutor]:
    """Yield an executor of new processes, with these options of `ProcessPoolExecutor`.

    If the block fails, they are killed, since the executor would wait for the end of their work.

    Raises program.Failure if one of them was killed.
    """
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), **options) as executor:
        try:
            yield executor
        except BaseException as error:
            for child in multiprocessing.active_children():
                child.kill()
            if isinstance(error, BrokenProcessPool):
                raise program.Failure(
                    "a process of the benchmark was killed (too little memory?): take fewer or "
                    "smaller runs, or end other programs"
                ) from error
            raise


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images uint8 [count, 32, 32, 3] and labels of ten classes."""
    check_positive(images=count)
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10


def write_pictures(folder: Path, images: int) -> None:
    """Write random images as a data set for main.py's --data.

    As in CIFAR-10, there are a fifth as many test images as training images.
    """
    if images < 10:
        raise ValueError(f"--images must be 10 or more, one for each class, got {images}")
    for split, count in (("train", images), ("test", images // 5)):
        pixels, labels = pictures(count)
        np.savez(folder / f"{split}.npz", images=pixels, labels=labels)


def usual_loader(pixels: np.ndarray, labels: np.ndarray, batch_size: int) -> DataLoader:
    """Return the usual loader of CIFAR-10's training images: PIL transforms in a DataLoader.

    Args:
        pixels: uint8 [N, H, W, 3].
        labels: int64 [N].
        batch_size: images in a batch.
    """
    entry = entry_of("cifar10")
    augment = transforms.Compose(
        [
            transforms.ToPILImage(),  # as torchvision's CIFAR10 does with every image
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(entry.mean, entry.std),
        ]
    )

    def collate(pairs):
        return torch.stack([augment(image) for image, _ in pairs]), torch.tensor(
            [label for _, label in pairs]
        )

    pairs = list(zip(pixels, labels.tolist(), strict=True))
    # torch takes a list for a data set, but its stubs ask for their class.
    return DataLoader(pairs, batch_size, shuffle=True, collate_fn=collate)  # pyrefly: ignore


def machine(device: torch.device) -> str:
    """Describe the machine and the versions in one line."""
    facts = runtime.environment(device)
    threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    return f"{facts['processor']}, {threads}, PyTorch {facts['torch']}, {facts['commit']}"


def show(title: str, device: torch.device, rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table under the title and the machine."""
    print(f"\n{title}\n{machine(device)}\n")
    aligned = ["left"] + ["right"] * (len(rows[0]) - 1)
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True, colalign=aligned))
