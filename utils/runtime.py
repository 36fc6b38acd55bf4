"""Device, precision, seeds, and facts about the machine."""

import ctypes
import os
import platform
import subprocess
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def find_device(name: str) -> torch.device:
    """The device of a name, `auto` being a GPU if there is one.

    Raises ValueError for one that is not there.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # of a name that is no device's any more
            device = torch.device(name)
            torch.zeros(1, device=device).item()
    except Exception as error:
        # Each backend has its own: a ModuleNotFoundError for "hpu", an AssertionError for "xpu".
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"--device {name} cannot be used here ({reason}): take --device cpu, or auto"
        ) from error
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context in which the network runs in a precision: fp32, bf16 or fp16."""
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def make_repeatable() -> None:
    """Ask for the same numbers at every run on the same machine; operations that cannot promise it
    warn.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads what was never written.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> None:
    """Have glibc keep the memory that tensors free for those to come; no effect elsewhere.

    Where it finds no free piece that is large enough, it otherwise maps each tensor of over 32 MiB
    anew and the system clears it, which takes a fifth of ResNet-10's training step at 256 images.
    The process's memory stays at about its peak.
    """
    if platform.libc_ver()[0] == "glibc":
        # M_MMAP_MAX, M_TRIM_THRESHOLD of mallopt(3).
        libc, max_maps, trim_threshold = ctypes.CDLL(None), -4, -1
        libc.mallopt(max_maps, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def seeds(seed: int, count: int) -> list[int]:
    """Independent seeds for a run's generators, derived from its one seed."""
    return [
        int(state >> np.uint64(1))
        for state in np.random.SeedSequence(seed).generate_state(count, np.uint64)
    ]


def commit() -> str | None:
    """The commit the code stands at, with "+" behind it if the work tree differs; None outside a
    checkout.
    """
    folder = Path(__file__).parent
    try:
        said = [
            subprocess.run(
                ["git", *call], cwd=folder, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for call in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] + ("+" if said[1] else "")


def processor(device: torch.device) -> str:
    """The name of what a device computes with, as far as the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(device: torch.device) -> dict[str, Any]:
    """What a reader of a result should know of where it was made."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "processor": processor(device),
        "threads": torch.get_num_threads(),
    }
