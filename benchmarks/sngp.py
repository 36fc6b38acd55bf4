#!/usr/bin/env python3
"""What SNGP's posterior variance does: AUROC with and without it, at two length scales, for several
ridges and factors.
"""

import math
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch
import tyro
from tabulate import tabulate
from torch import Tensor, nn

import main as program
from data.batches import Normalizer, plain_batches
from experiment import records
from experiment.config import RunConfig
from experiment.data import load_data
from experiment.evaluation import predict
from experiment.network import load_network
from losses import LOSSES, SNGPLossFirstPart, scores
from losses.sngp import RIDGE, dempster_shafer
from utils import runtime
from utils.metrics import detection_metrics

from .common import start

# The precision's ridge. With our features 2/M equals a ridge of 1 with the reference code's.
RIDGES = {"1": 1.0, "2/M": RIDGE}
# The mean-field factor: none leaves the variance out, π/8 is the paper's, 20 the reference code's.
FACTORS = {"none": 0.0, "π/8": math.pi / 8, "20": 20.0}
SCORES = {"DS": dempster_shafer, "MPS": scores.maximum_probability}


def trained(arguments: list[str], length_scale: float, seed: int, runs: Path) -> Path:
    """Train SNGP with a length scale, unless that was done before; the run's folder."""
    where = runs / f"length-{length_scale:g}"
    LOSSES["sngp"] = replace(
        LOSSES["sngp"], head=partial(SNGPLossFirstPart, length_scale=length_scale)
    )
    given = [*arguments, "--loss", "sngp", "--seed", str(seed), "--runs", str(where)]
    if status := program.main(given):
        raise ValueError(f"main.py ended with status {status}")
    return program.parse(given).folder


def features_of(folder: Path, device: torch.device) -> tuple[nn.Module, dict[str, Tensor]]:
    """A run's head in float64, and the features [N, D] of the test images and each
    out-of-distribution set.
    """
    config = RunConfig.from_json(records.read_record(folder / records.METRICS)["config"])
    data, network = load_data(config), load_network(folder, device)
    normalize, context = (
        Normalizer(data.mean, data.std, device),
        runtime.autocast(device, config.precision),
    )
    sets = {"test": data.evaluation["test"]} | {
        Path(name).stem: part for name, (_, part) in data.ood.items()
    }
    features = {
        name: predict(network, plain_batches(part, normalize, 500, device), context)[
            "features"
        ].double()
        for name, part in sets.items()
    }
    return network.classifier.cpu().double(), features


@torch.no_grad()
def rows_of(folder: Path, length_scale: float, device: torch.device) -> list[dict[str, object]]:
    """A row for each ridge, factor, score and out-of-distribution set: AUROC in percent."""
    head, features = features_of(folder, device)
    # Σ φφᵀ of the training images.
    seen = head.precision - head.rounding - RIDGE * torch.eye(len(head.precision))
    rows = []
    for (ridge_name, ridge), (factor_name, factor) in product(RIDGES.items(), FACTORS.items()):
        if factor == 0 and ridge != RIDGE:
            continue  # without the variance the ridge changes nothing
        head.covariance = torch.linalg.inv(seen + ridge * torch.eye(len(seen)))
        head.mean_field = factor
        logits = {name: head.named_outputs(each)["logits"] for name, each in features.items()}
        for score_name, score in SCORES.items():
            values = {name: score(each) for name, each in logits.items()}
            common = {
                "length scale": f"{length_scale:g}",
                "score": score_name,
                "factor": factor_name,
            }
            common["ridge"] = ridge_name if factor else "–"
            for name in [name for name in values if name != "test"]:
                auroc = detection_metrics(values["test"], values[name])["auroc"]
                rows.append(common | {"set": name, "AUROC": 100 * auroc})
    return rows


def main(
    arguments: tyro.conf.Positional[tuple[str, ...]] = (),
    seeds: tuple[int, ...] = (1, 2, 3),
    length_scales: tuple[float, ...] = (20.0, 2.0),
    runs: Path = Path("runs-sngp"),
    device: str = "auto",
) -> None:
    """Train, and print a table of AUROC %: mean ± standard deviation over the seeds.

    Args:
        arguments: behind `--`, what main.py takes, such as -- --data cifar10 --model wideresnet102
            --epochs 8.
        seeds: of the runs.
        length_scales: of the kernel.
        runs: where the runs go; finished ones are not made again.
        device: auto, cpu, cuda, cuda:N or mps.
    """
    rows, given = [], [*arguments, "--device", device]
    for length_scale, seed in product(length_scales, seeds):
        folder = trained(given, length_scale, seed, runs)
        rows += rows_of(folder, length_scale, runtime.find_device(device))
    table = pd.DataFrame(rows)
    keys = [name for name in table.columns if name not in ("set", "AUROC")]
    cells = table.groupby([*keys, "set"], sort=False)["AUROC"].agg(
        lambda found: f"{found.mean():.1f}" + (f"±{found.std():.1f}" if len(found) > 1 else "")
    )
    shown = cells.unstack(sort=False).reset_index()
    print(tabulate(shown, headers="keys", tablefmt="pipe", showindex=False, disable_numparse=True))


if __name__ == "__main__":
    start(main, __doc__)
