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

# Parameters of mallopt(3).
MMAP_MAX, TRIM_THRESHOLD = -4, -1
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def find_device(name: str) -> torch.device:
    """Return the device with this name; `auto` is a GPU if there is one, else the CPU.

    Raises ValueError for a device that is not there.
    """
    if name == "auto" and torch.cuda.is_available():
        name = "cuda"
    elif name == "auto":
        name = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns of names it no longer supports
            device = torch.device(name)
            torch.zeros(1, device=device).item()
    except Exception as error:
        # Each backend raises its own: ModuleNotFoundError for "hpu", AssertionError for "xpu".
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"--device {name} cannot be used here ({reason}): take --device cpu, or auto"
        ) from error
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which a network computes in a precision: fp32, bf16 or fp16."""
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def make_repeatable() -> None:
    """Make PyTorch compute the same numbers every time on the same machine.

    Operations that cannot do so warn.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # The code reads no memory that it has not written, so filling it first would waste time.
    # torch's stubs lack this property.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyrefly: ignore
    torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for later ones. Without glibc, do nothing.

    By default glibc asks the system for new memory for each tensor of more than 32 MiB that fits
    into no freed piece. The system fills it with zeros, which takes a fifth of ResNet-10's training
    step at 256 images. With this setting the process keeps about its peak memory.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def seeds(seed: int, count: int) -> list[int]:
    """Return independent seeds for a run's generators, derived from the run's one seed."""
    return [
        int(state >> np.uint64(1))
        for state in np.random.SeedSequence(seed).generate_state(count, np.uint64)
    ]


def commit() -> str | None:
    """The commit of this code, with "+" at its end if files have changed since.

    None if the code is not in a Git repository.
    """
    try:
        commit_id = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit_id + ("+" if changes else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def processor(device: torch.device) -> str:
    """The name of a device's GPU or processor, as far as the system tells it."""
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
    """The versions and the hardware that a result was computed with, for its record."""
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
