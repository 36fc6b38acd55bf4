#!/usr/bin/env python3
"""Compares SNGP's AUROC with and without the posterior variance.

For two length scales, and for several ridges and mean-field factors.
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
from torch import Tensor

from data.batches import Normalizer, plain_batches
from data.images import EVALUATION_BATCH
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
from .precision import trained

# The ridge of the precision matrix. 2/M here equals 1 in the reference code, whose features have
# another length.
RIDGES = {"1": 1.0, "2/M": RIDGE}
# The mean-field factor: 0 leaves the variance out, π/8 is the paper's, 20 the reference code's.
FACTORS = {"none": 0.0, "π/8": math.pi / 8, "20": 20.0}
SCORES = {"DS": dempster_shafer, "MPS": scores.maximum_probability}


def train(arguments: list[str], length_scale: float, seed: int, runs: Path) -> Path:
    """Train SNGP with a length scale, if the run is not finished. Returns the run's folder."""
    head = partial(SNGPLossFirstPart, length_scale=length_scale)
    LOSSES["sngp"] = replace(LOSSES["sngp"], head=head)
    folder = runs / f"length-{length_scale:g}"
    return trained([*arguments, "--loss", "sngp", "--seed", str(seed), "--runs", str(folder)])


def features_of(folder: Path, device: torch.device) -> tuple[SNGPLossFirstPart, dict[str, Tensor]]:
    """Return a run's head in float64, and the features [N, D] of the test and OOD images.

    Raises ValueError for a run with another loss.
    """
    config = RunConfig.from_json(records.read_record(folder / records.METRICS)["config"])
    data, network = load_data(config), load_network(folder, device)
    normalize = Normalizer(data.mean, data.std, device)
    sets = {"test": data.evaluation["test"]}
    for source, (_, images) in data.ood.items():
        sets[Path(source).stem] = images
    features = {}
    for name, images in sets.items():
        batches = plain_batches(images, normalize, EVALUATION_BATCH, device)
        outputs = predict(network, batches, runtime.autocast(device, config.precision))
        features[name] = outputs["features"].double()
    head = network.classifier.cpu().double()
    if not isinstance(head, SNGPLossFirstPart):
        raise ValueError(f"{folder} is no run with --loss sngp")
    return head, features


@torch.no_grad()
def rows_of(folder: Path, length_scale: float, device: torch.device) -> list[dict[str, object]]:
    """Return a row for each ridge, factor, score and out-of-distribution set: AUROC in percent."""
    head, features = features_of(folder, device)
    # Σ φφᵀ of the training images.
    gram = head.precision - head.rounding - RIDGE * torch.eye(len(head.precision))
    rows: list[dict[str, object]] = []
    for (ridge_name, ridge), (factor_name, factor) in product(RIDGES.items(), FACTORS.items()):
        if factor == 0 and ridge != RIDGE:
            continue  # without the variance the ridge changes nothing
        head.covariance = torch.linalg.inv(gram + ridge * torch.eye(len(gram)))
        head.mean_field = factor
        logits = {name: head.named_outputs(x)["logits"] for name, x in features.items()}
        for score_name, score in SCORES.items():
            values = {name: score(x) for name, x in logits.items()}
            in_scores = values.pop("test")
            for name, out_scores in values.items():
                row: dict[str, object] = {
                    "length scale": f"{length_scale:g}",
                    "score": score_name,
                    "factor": factor_name,
                    "ridge": ridge_name if factor else "–",
                    "set": name,
                    "AUROC": 100 * detection_metrics(in_scores, out_scores)["auroc"],
                }
                rows.append(row)
    return rows


def mean_and_deviation(values: pd.Series) -> str:
    """Return a table's cell."""
    deviation = f"±{values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{deviation}"


def main(
    arguments: tyro.conf.Positional[tuple[str, ...]] = (),
    seeds: tuple[int, ...] = (1, 2, 3),
    length_scales: tuple[float, ...] = (20.0, 2.0),
    runs: Path = Path("runs-sngp"),
    device: str = "auto",
) -> None:
    """Train, and print a table of AUROC %: mean ± standard deviation over the seeds.

    Args:
        arguments: of main.py, after `--`, such as -- --data cifar10 --model wideresnet102
            --epochs 8.
        seeds: of the runs.
        length_scales: of the kernel.
        runs: folder of the runs; finished ones are not trained again.
        device: auto, cpu, cuda, cuda:N or mps.
    """
    rows: list[dict[str, object]] = []
    for length_scale, seed in product(length_scales, seeds):
        folder = train([*arguments, "--device", device], length_scale, seed, runs)
        rows += rows_of(folder, length_scale, runtime.find_device(device))
    table = pd.DataFrame(rows)
    keys = [name for name in table.columns if name not in ("set", "AUROC")]
    cells = table.groupby([*keys, "set"], sort=False)["AUROC"].agg(mean_and_deviation)
    columns = cells.unstack(sort=False).reset_index().to_dict("list")
    print(tabulate(columns, headers="keys", tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    start(main, __doc__)
