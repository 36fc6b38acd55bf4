"""Each benchmark prints its table, checks its options first, and ends with one line."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cost
from tests.common import ROOT

QUICK = {
    "heads": ("--repeats", "1"),
    "data": ("--images", "128", "--repeats", "1"),
    "training": ("--models", "smallcnn", "--images", "64", "--repeats", "1", "--device", "cpu"),
    "epoch": ("--images", "64", "--epochs", "4", "--device", "cpu"),
    "deployed": (
        *("--models", "smallcnn", "--train", "100", "--held-out", "100", "--repeats", "1"),
        *("--device", "cpu"),
    ),
    "promise": ("--repeats", "2"),
    "errors": ("--sets", "2", "--ece-sets", "2"),
    "evaluation": ("--images", "200", "--repeats", "1"),
    "inference": ("--models", "smallcnn", "--batch", "8", "--repeats", "1", "--device", "cpu"),
    "profile": ("--models", "smallcnn", "--batch", "8", "--repeats", "1", "--device", "cpu"),
    "together": (
        "--models",
        "smallcnn",
        "--counts",
        "1",
        "2",
        "--images",
        "64",
        "--seconds",
        "0.1",
        "--device",
        "cpu",
    ),
    "cost": ("--images-per-second", "1000", "4000", "3000", "--together", "2000", "8000", "6000"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_prints_its_table(script, name):
    done = script("-m", f"benchmarks.{name}", *QUICK[name])
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 2


@pytest.mark.slow
def test_distances_of_a_run_are_printed_for_each_kind_of_images(script, tmp_path):
    assert script("main.py", "--epochs", "1", "--device", "cpu", "--runs", tmp_path).returncode == 0
    done = script("-m", "benchmarks.distances", tmp_path, "--images", "64", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[2].strip() for line in done.stdout.splitlines()]
    changes = [
        "mosaics of four",
        "faded mosaics",
        "half the resolution",
        "half the contrast",
        "flat",
    ]
    assert rows[2:] == ["test", *changes, "digits89", "photos", "noise"]


@pytest.mark.parametrize(
    ("name", "arguments", "message", "status"),
    [
        pytest.param(
            *("inference", ("--models", "smallcnn", "--batch", "10000000000"), "out of memory", 1),
            marks=pytest.mark.slow,
        ),
        ("heads", ("--repeats", "x"), "Error parsing --repeats: invalid literal", 2),
    ],
)
def test_bad_arguments_are_an_error_in_one_line(script, name, arguments, message, status):
    done = script("-m", f"benchmarks.{name}", *arguments)
    assert done.returncode == status
    (line,) = [line for line in done.stderr.splitlines() if "CUDA" not in line]
    assert line.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("heads", {"repeats": 0}, "--repeats must be above 0 and below 1,000,000,000,000, got 0"),
        ("data", {"images": -5}, "--images must be above 0 and below"),
        ("inference", {"models": ("nope",)}, "unknown model 'nope'"),
        (
            "growth",
            {"figure": Path("missing/growth.png")},
            "--figure takes a .png, .pdf or .svg in a folder that is there",
        ),
        ("epoch", {"epochs": 3}, "--epochs must be above 3"),
        ("epoch", {"images": 4}, "--images must be 10 or more, one for each class, got 4"),
        ("training", {"models": ()}, "--models names no network"),
        ("training", {"repeats": 0}, "--repeats must be above 0"),
        (
            "training",
            {"compiled": True, "images": 100},
            "--images must be a multiple of 64, got 100",
        ),
        ("together", {"models": ("smallcnn", "nope")}, "unknown model 'nope'"),
        ("together", {"counts": (0,)}, "--counts must be above 0"),
        ("together", {"counts": ()}, "--counts names no number of runs"),
        ("together", {"seconds": float("nan")}, "--seconds must be above 0"),
        (
            "cost",
            {"utilisation": 1.5},
            "--utilisation is a share, so it must be 1 or less, got 1.5",
        ),
        ("cost", {"together": (1, 1, 1)}, "--together needs --images-per-second"),
        ("cost", {"images_per_second": (1, 0, 1)}, "--images-per-second must be above 0 and below"),
    ],
)
def test_options_are_checked_before_anything_is_measured(name, options, message):
    with pytest.raises(ValueError, match=message):
        importlib.import_module(f"benchmarks.{name}").main(**options)


def test_table_2_takes_the_days_that_the_page_says():
    assert round(sum(cost.days((1206, 3889, 3083)))) == 12  # docs/performance.md


@pytest.mark.skipif(torch.cuda.is_available(), reason="would take minutes")
def test_without_a_gpu_its_script_does_nothing(tmp_path):
    """Its tests would all be skipped, and look as if they had passed."""
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), str(tmp_path / "gpu")]
    done = subprocess.run(
        command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "error: PyTorch finds no CUDA GPU here: nothing was done" in done.stderr
    assert not (tmp_path / "gpu").exists()


SLEEPING = """
import os, time
from benchmarks import common, together

def sleep(*_):
    print(os.getpid(), flush=True)
    time.sleep(100)

if __name__ == "__main__":
    together._rate = sleep
    common.end_well(lambda: together.together(2))
"""


@pytest.fixture
def sleeping(tmp_path):
    """A benchmark of two runs at once that sleep, and the numbers of the runs' processes."""
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    benchmark = subprocess.Popen(
        [sys.executable, str(tmp_path / "sleeping.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield benchmark, [int(benchmark.stdout.readline()) for _ in range(2)]
    benchmark.kill()


@pytest.mark.slow
def test_a_signal_ends_a_benchmark_and_its_processes(sleeping):
    benchmark, _ = sleeping
    benchmark.send_signal(signal.SIGTERM)
    # Its processes have the same standard error, so it ends when they have ended.
    _, error = benchmark.communicate(timeout=120)
    assert benchmark.returncode == 75
    assert "interrupted: the table is not complete" in error


@pytest.mark.slow
def test_a_benchmark_with_a_killed_process_fails_in_one_line(sleeping):
    benchmark, processes = sleeping
    os.kill(max(processes), signal.SIGKILL)  # the last, which an executor may not watch
    _, error = benchmark.communicate(timeout=120)
    assert benchmark.returncode == 1
    assert error.startswith("error: a process of the benchmark was killed")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_seeds_precisions_and_losses_are_compared(script, tmp_path):
    given = ("--runs", str(tmp_path), "--seeds", "1", "2", "--epochs", "2", "--limit-eval", "50")
    done = script("-m", "benchmarks.precision", *given)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("|")]) == 2 + 5


@pytest.mark.slow
def test_growth_prints_its_tables_and_draws_its_figure(script, tmp_path):
    sizes = ("--batch", "8", "16", "--classes", "10", "20", "--images", "32", "64")
    done = script(
        "-m",
        "benchmarks.growth",
        *sizes,
        "--repeats",
        "1",
        "--figure",
        str(tmp_path / "growth.png"),
    )
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("|")]) == 12
    assert (tmp_path / "growth.png").stat().st_size > 10_000
