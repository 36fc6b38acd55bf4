#!/usr/bin/env python3
"""Whether bf16 changes results: the same runs in float32 and in bf16, and their differences beside the spread of the seeds."""

import argparse
from pathlib import Path

import numpy as np
import torch

import main as program
from losses import LOSSES
from utils.records import find_records

from .common import show

PRECISIONS = ("fp32", "bf16")


def numbers(record: dict) -> dict[str, float]:
    """What a run is judged by."""
    at, test = record["scores_at"], record["classification"]["test"]
    sets = [found["scores"][at][record["score"]]["auroc"] for found in record["detection"].values()]
    return {
        "accuracy %": 100 * test["t1"]["accuracy"],
        "NLL": test["calibrated"]["nll"],
        "ECE": test["calibrated"]["ece"],
        "T": record["temperature"]["value"],
        "AUROC %": 100 * float(np.mean(sets)),
    }


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="All other options go to main.py.")
    parser.add_argument("--runs", type=Path, default=Path("runs_precision"), help="results go to RUNS/fp32 and RUNS/bf16")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given, options = parser.parse_known_args()
    for seed in given.seeds:
        for loss in LOSSES:
            for precision in PRECISIONS:
                own = ["--loss", loss, "--seed", str(seed), "--precision", precision, "--runs", str(given.runs / precision)]
                if status := program.main([*options, *own]):
                    raise SystemExit(status)
    rows = []
    for loss in LOSSES:
        of_loss = {p: [r for r in find_records(given.runs / p)[0] if r["config"]["loss"] == loss] for p in PRECISIONS}
        values = {p: [numbers(record) for record in found] for p, found in of_loss.items()}
        row: dict[str, object] = {"loss": f"{LOSSES[loss].title} (n={len(values['fp32'])})"}
        for name in values["fp32"][0]:
            single, half = (np.array([value[name] for value in values[precision]]) for precision in PRECISIONS)
            spread = np.sqrt((single.var(ddof=1) + half.var(ddof=1)) / 2)
            row[name] = f"{single.mean():.4g}"
            row[f"bf16 - fp32, {name}"] = f"{half.mean() - single.mean():+.2g} ({spread:.2g})"
        rows.append(row)
    show("Means in fp32, and bf16's less them (the seeds' standard deviation)", torch.device("cpu"), rows)


if __name__ == "__main__":
    main()
