#!/usr/bin/env python3
"""Whether bf16 changes results: the same runs in float32 and in bf16, and their differences beside
the noise of the seeds.
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


def numbers(record: dict) -> dict[str, float]:
    """What a run is judged by."""
    at, test = record["scores_at"], record["classification"]["test"]
    sets = [found["scores"][at][record["score"]]["auroc"] for found in record["detection"].values()]
    return {
        "ACC %": 100 * test["t1"]["accuracy"],
        "NLL": test["calibrated"]["nll"],
        "ECE": test["calibrated"]["ece"],
        "T": record["temperature"]["value"],
        "AUROC %": 100 * float(np.mean(sets)),
    }


def trained(arguments: list[str]) -> dict:
    """The record of main.py's run of these arguments, which is trained if it is not there yet."""
    if status := program.main(arguments):
        raise SystemExit(status)
    return records.read_record(program.parse(arguments).folder / records.METRICS)


def compared(loss: str, seeds: list[int], runs: Path, options: list[str]) -> dict[str, str]:
    """A row of the table: means in float32, and bf16's less them ± the standard error of that
    difference.
    """
    single, half = (
        [
            numbers(
                trained(
                    [
                        *options,
                        "--loss",
                        loss,
                        "--seed",
                        str(seed),
                        "--precision",
                        name,
                        "--runs",
                        str(runs / name),
                    ]
                )
            )
            for seed in seeds
        ]
        for name in ("fp32", "bf16")
    )
    row = {"loss": LOSSES[loss].title}
    for name in single[0]:
        ours, theirs = (np.array([value[name] for value in values]) for values in (single, half))
        error = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / len(seeds))
        row |= {
            name: f"{ours.mean():.3g}",
            f"Δ {name}": f"{theirs.mean() - ours.mean():+.2g} ± {error:.2g}",
        }
    return row


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="All other options go to main.py.")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs_precision"),
        help="results go to RUNS/fp32 and RUNS/bf16",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="two or more")
    given, options = parser.parse_known_args()
    if len(given.seeds) < 2:
        parser.error("--seeds takes two or more, whose spread is what a difference is held against")
    rows = [compared(loss, given.seeds, given.runs, options) for loss in METHODS]
    title = (
        f"{len(given.seeds)} seeds; means in fp32, and bf16's less them ± the standard error of "
        "the difference"
    )
    show(title, torch.device("cpu"), rows)


if __name__ == "__main__":
    end_well(main)
