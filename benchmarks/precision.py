#!/usr/bin/env python3
"""Tests whether bf16 changes results: the same runs in float32 and in bf16.

Their difference is shown with its standard error over the seeds.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import main as program
from experiment import records
from losses import LOSSES

from .common import end_well, show

METHODS = ("softmax", "isomax", "isomaxplus", "dismax", "dismax_nofpr")


def numbers(folder: Path) -> dict[str, float]:
    """Return the numbers of a run that are compared."""
    record = records.read_record(folder / records.METRICS)
    at, test = record["scores_at"], record["classification"]["test"]
    sets = record["detection"].values()
    aurocs = [results["scores"][at][record["score"]]["auroc"] for results in sets]
    return {
        "ACC %": 100 * test["t1"]["accuracy"],
        "NLL": test["calibrated"]["nll"],
        "ECE": test["calibrated"]["ece"],
        "T": record["temperature"]["value"],
        "AUROC %": 100 * float(np.mean(aurocs)),
    }


def trained(arguments: list[str]) -> Path:
    """Return the folder of main.py's run with these arguments. Train it if it is not finished."""
    if status := program.main(arguments):
        raise SystemExit(status)
    return program.parse(arguments).folder


def row_of(loss: str, seeds: list[int], runs: Path, options: list[str]) -> dict[str, str]:
    """Return a loss's row: means in float32, and by how much those in bf16 differ ± its error."""
    results = {}
    for precision in ("fp32", "bf16"):
        arguments = [*options, "--loss", loss, "--precision", precision]
        arguments += ["--runs", str(runs / precision)]
        results[precision] = [numbers(trained([*arguments, "--seed", str(seed)])) for seed in seeds]
    row = {"loss": LOSSES[loss].title}
    for name in results["fp32"][0]:
        fp32, bf16 = (np.array([run[name] for run in results[precision]]) for precision in results)
        error = np.sqrt((fp32.var(ddof=1) + bf16.var(ddof=1)) / len(seeds))
        row[name] = f"{fp32.mean():.3g}"
        row[f"Δ {name}"] = f"{bf16.mean() - fp32.mean():+.2g} ± {error:.2g}"
    return row


def main() -> None:
    """Train the runs that are not finished, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="All other options go to main.py.")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs_precision"),
        help="results go to RUNS/fp32 and RUNS/bf16",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="two or more")
    known, options = parser.parse_known_args()
    if len(known.seeds) < 2:
        parser.error(
            "--seeds takes two or more, since the differences are compared with their spread"
        )
    rows = [row_of(loss, known.seeds, known.runs, options) for loss in METHODS]
    title = (
        f"{len(known.seeds)} seeds; means in fp32, and bf16's minus these ± the standard error of "
        "the difference"
    )
    show(title, torch.device("cpu"), rows)


if __name__ == "__main__":
    end_well(main)
