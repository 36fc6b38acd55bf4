#!/usr/bin/env python3
"""What SNGP's posterior variance does: AUROC with and without it, for several ridges and factors."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from tabulate import tabulate

from data.batches import Normalizer, plain_batches
from experiment import load_data, load_network
from losses import scores
from losses.sngp import RIDGE, dempster_shafer
from utils import records, runtime
from utils.config import RunConfig
from utils.evaluation import predict
from utils.metrics import detection_metrics

from .common import start

RIDGES = {"1": 1.0, "2/M": RIDGE}
FACTORS = {"none": 0.0, "π/8": math.pi / 8, "7.5": 7.5, "20": 20.0}
SCORES = {"DS": dempster_shafer, "MPS": scores.maximum_probability, "variance": None}


def _outputs(folder: Path, device: torch.device):
    """The network's head and its outputs for the test images and each out-of-distribution set."""
    config = RunConfig.from_json(records.read_record(folder / records.METRICS)["config"])
    data, network = load_data(config), load_network(folder, device)
    normalize, context = Normalizer(data.mean, data.std, device), runtime.autocast(device, config.precision)
    sets = {"test": data.evaluation["test"]} | {Path(name).stem: part for name, (_, part) in data.outside.items()}
    return config, network.classifier.cpu().double(), {
        name: predict(network, plain_batches(part, normalize, 500, device), context)["features"].double()
        for name, part in sets.items()
    }


@torch.no_grad()
def measured(folder: Path, device: torch.device) -> list[dict[str, object]]:
    """A row for each ridge, factor, score and out-of-distribution set: AUROC in percent."""
    config, head, features = _outputs(folder, device)
    eye, rows = torch.eye(len(head.precision), dtype=torch.float64), []
    head.mean_field = 0.0
    logits = {name: head.named_outputs(each)["logits"] for name, each in features.items()}
    for (ridge_name, ridge), (factor_name, factor) in product(RIDGES.items(), FACTORS.items()):
        head.covariance = torch.linalg.inv(head.precision - RIDGE * eye + ridge * eye)
        variance = {name: head.named_outputs(each)["variance"] for name, each in features.items()}
        shrunk = {name: each / (1 + factor * variance[name]).sqrt()[:, None] for name, each in logits.items()}
        for score_name, score in SCORES.items():
            values = {name: -variance[name] if score is None else score(each) for name, each in shrunk.items()}
            common = {"loss": config.loss, "ridge": ridge_name, "factor": factor_name, "score": score_name}
            rows += [
                common | {"set": name, "seed": config.seed, "auroc": 100 * detection_metrics(values["test"], each)["auroc"]}
                for name, each in values.items()
                if name != "test"
            ]
    change = (1 + MEDIAN_FACTOR * variance["test"]).sqrt().median() if (MEDIAN_FACTOR := FACTORS["20"]) else 1
    print(f"{folder}: median √(1 + 20 v) of test images, ridge 2/M: {float(change):.3f}")
    return rows


def main(runs: tyro.conf.Positional[tuple[Path, ...]], device: str = "auto") -> None:
    """Print a table of the SNGP runs in or below these folders: mean ± standard deviation over seeds."""
    where = runtime.find_device(device)
    table = pd.DataFrame([row for folder in records.run_folders(runs) for row in measured(folder, where)])
    # The variance itself has no factor, and without a factor the ridge changes nothing.
    table = table[(table["score"] != "variance") | (table["factor"] == "none")]
    table = table[(table["score"] == "variance") | (table["factor"] != "none") | (table["ridge"] == "1")]
    table.loc[(table["factor"] == "none") & (table["score"] != "variance"), "ridge"] = "–"
    keys = ["loss", "score", "ridge", "factor"]
    cells = table.groupby([*keys, "set"], sort=False)["auroc"].agg(
        lambda runs: f"{runs.mean():.1f}" + (f"±{np.std(runs, ddof=1):.1f}" if len(runs) > 1 else "")
    )
    print(tabulate(cells.unstack(sort=False).reset_index(), headers="keys", tablefmt="pipe", showindex=False, disable_numparse=True))


if __name__ == "__main__":
    start(main, __doc__)
