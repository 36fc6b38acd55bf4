"""Measures two or more ways of doing one thing in one process, in turns, and prints medians and
ratios.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from timeit import Timer
from unittest.mock import patch

import numpy as np
import torch
from tabulate import tabulate
from torch.utils.benchmark import timer
from torch.utils.data import DataLoader
from torchvision import transforms

from data.sources import entry_of
from models import model_title
from utils import interruption, program, runtime

HIGHEST = 10**12  # of any option; PyTorch's own sizes end at 2^63


def start(main: Callable[..., None], description: str | None) -> None:
    """Run a benchmark with the command line's arguments. Exits as `program.exit_status` says."""

    @wraps(main)
    def given(*arguments, **options):
        return partial(main, *arguments, **options)

    end_well(
        lambda: program.read(
            given, f"-m {sys.modules[main.__module__].__spec__.name}", description=description
        )()
    )


def end_well(work: Callable[[], object]) -> None:
    """Do a benchmark's work. Exits if an error or a signal ends it."""
    interruption.listen()

    def complete() -> None:
        work()

    if status := program.exit_status(complete, "the table is not complete"):
        sys.exit(status)


def check_positive(**values: float) -> None:
    """Raises ValueError for an option that is not a number above 0 and below `HIGHEST`."""
    for name, value in values.items():
        if not 0 < value < HIGHEST:  # NaN is neither
            raise ValueError(
                f"--{name.replace('_', '-')} must be above 0 and below {HIGHEST:,}, got {value}"
            )


def check_models(models: Sequence[str]) -> None:
    """Raises ValueError for a name that is no network's, or if there is none, before anything is
    measured.
    """
    if not models:
        raise ValueError("--models names no network: leave it out, or name one")
    for name in models:
        model_title(name)


def in_turns(
    sides: Mapping[str, Callable[[], object]], repeats: int = 9, seconds: float = 0.2
) -> dict[str, float]:
    """The median seconds of a call of each side.

    The sides take turns, so that a slower or faster while of the machine meets all of them. A turn
    is as many calls as fit into `seconds`, one at least; two unmeasured calls come first. GPUs are
    waited for.
    """
    check_positive(repeats=repeats)
    # Torch's clock waits for a GPU.
    timers = {name: Timer(side, timer=timer) for name, side in sides.items()}
    calls = {
        name: max(1, int(seconds / max(min(each.repeat(2, 1)), 1e-9)))
        for name, each in timers.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, each in timers.items():
            taken[name].append(each.timeit(calls[name]) / calls[name])
    return {name: statistics.median(values) for name, values in taken.items()}


@contextmanager
def timed(places: Mapping[str, tuple[object, str]]) -> Iterator[dict[str, list[float]]]:
    """Measures what a block calls: the seconds of each call, by name.

    Args:
        places: by that name, the object or class that has the function, and the function's name
            there.
    """
    seconds: dict[str, list[float]] = {name: [] for name in places}

    def watched(taken: list[float], function: Callable) -> Callable:
        def call(*arguments, **options):
            started = time.perf_counter()
            result = function(*arguments, **options)
            taken.append(time.perf_counter() - started)
            return result

        return call

    with ExitStack() as stack:
        for name, (owner, attribute) in places.items():
            stack.enter_context(
                patch.object(owner, attribute, watched(seconds[name], getattr(owner, attribute)))
            )
        yield seconds


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images uint8 [count, 32, 32, 3] and labels of ten classes."""
    check_positive(images=count)
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10


def write_pictures(folder: Path, images: int) -> None:
    """Random images as a data set for main.py's --data: so many to train on, and a fifth as many to
    test, as in CIFAR-10.
    """
    if images < 10:
        raise ValueError(f"--images must be 10 or more, one for each class, got {images}")
    for split, count in (("train", images), ("test", images // 5)):
        pixels, labels = pictures(count)
        np.savez(folder / f"{split}.npz", images=pixels, labels=labels)


def usual_loader(pixels: np.ndarray, labels: np.ndarray, batch_size: int) -> DataLoader:
    """CIFAR-10's training images as one usually loads them: PIL transforms in a DataLoader.

    Args:
        pixels: uint8 [N, H, W, 3].
        labels: int64 [N].
        batch_size: images a batch.
    """
    crop, flip = transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()
    normalize = transforms.Normalize(entry_of("cifar10").mean, entry_of("cifar10").std)
    # To PIL first, as torchvision's CIFAR does with each image it is asked for.
    augment = transforms.Compose(
        [transforms.ToPILImage(), crop, flip, transforms.ToTensor(), normalize]
    )

    def collate(pairs):
        return torch.stack([augment(image) for image, _ in pairs]), torch.tensor(
            [label for _, label in pairs]
        )

    return DataLoader(
        list(zip(pixels, labels.tolist(), strict=True)),
        batch_size,
        shuffle=True,
        collate_fn=collate,
    )


def machine(device: torch.device) -> str:
    """What the numbers below it were measured on."""
    found = runtime.environment(device)
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    return f"{found['processor']}, {threads}, PyTorch {found['torch']}, {found['commit']}"


def show(title: str, device: torch.device, rows: list[dict[str, object]]) -> None:
    """Print a table under the title and the machine."""
    print(f"\n{title}\n{machine(device)}\n")
    aligned = ["left"] + ["right"] * (len(rows[0]) - 1)
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True, colalign=aligned))
