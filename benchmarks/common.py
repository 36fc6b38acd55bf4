"""Measures two or more ways of doing one thing in one process, in turns, and prints medians and ratios."""

import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from timeit import Timer

import torch
from tabulate import tabulate
from torch.utils.benchmark import timer

from utils import runtime


def in_turns(sides: Mapping[str, Callable[[], object]], repeats: int = 9, seconds: float = 0.2) -> dict[str, float]:
    """The median seconds of a call of each side.

    The sides take turns, so that a slower or faster while of the machine meets all of them. A turn is as many calls as fit
    into `seconds`, one at least; two unmeasured calls come first. GPUs are waited for.
    """
    timers = {name: Timer(side, timer=timer) for name, side in sides.items()}  # torch's clock waits for a GPU
    calls = {name: max(1, int(seconds / max(min(each.repeat(2, 1)), 1e-9))) for name, each in timers.items()}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, each in timers.items():
            taken[name].append(each.timeit(calls[name]) / calls[name])
    return {name: statistics.median(values) for name, values in taken.items()}


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine(device: torch.device) -> str:
    """What the numbers below it were measured on."""
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    threads = torch.get_num_threads()
    return f"{gpu}{processor()}, {threads} thread{'s' if threads > 1 else ''}, PyTorch {torch.__version__}, {runtime.commit()}"


def show(title: str, device: torch.device, rows: list[dict[str, object]]) -> None:
    """Print a table under the title and the machine."""
    print(f"\n{title}\n{machine(device)}\n")
    aligned = ["left"] + ["right"] * (len(rows[0]) - 1)
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True, colalign=aligned))
