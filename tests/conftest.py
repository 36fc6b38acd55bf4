"""What all tests share: one thread a worker, so that two workers share two cores."""

import os
import sys
import time
from pathlib import Path

import pytest
import torch

from experiment import records

ROOT = Path(__file__).parent.parent
QUICK = ("--epochs", "3")
# Losses of one equation; the others: test_methods.py.
PROTOTYPES = ("softmax", "isomax", "isomaxplus", "dismax", "dismax_nofpr")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)


@pytest.fixture
def run_main(tmp_path, capsys):
    """Runs main.py's `main` into a temporary runs folder; gives exit status, standard output and
    error.
    """
    import main

    def run(*arguments: str):
        # The same on every machine, if the test does not say otherwise.
        status = main.main(
            ["--precision", "fp32", "--runs", str(tmp_path / "runs"), "--device", "cpu", *arguments]
        )
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def script():
    """Runs a Python file of the repository in a process of its own."""
    import subprocess

    def run(*arguments: str, timeout=300, **options):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            **options,
        )

    return run


def until(process, happened, seconds=120):
    """Wait until something has happened; fails if the process ends first or time runs out."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end
        time.sleep(0.05)


def record_of(tmp_path, loss="dismax", seed=1):
    """The record of a run that `run_main` made."""
    return records.read_record(
        tmp_path / "runs" / "digits" / "smallcnn" / loss / str(seed) / records.METRICS
    )


def without_times(record):
    """What two runs of one identity have in common."""
    return {
        name: value
        for name, value in record.items()
        if name not in ("started", "seconds", "environment", "config")
    }
