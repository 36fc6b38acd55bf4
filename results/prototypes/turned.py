"""Measures how far the prototypes of finished runs have turned, and where images lie.

Usage: python -m results.prototypes.turned FILE.csv RUN...

`cosine` is between a prototype at the start and at the end, mean over the classes. `towards` is the
mean cosine between features and prototypes. `auroc` is the AUROC of the mean distance against the
test images. 1,000 images of each set are taken. The mosaics are FPR's, of the test images.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from data.batches import Normalizer
from data.splits import limited
from experiment.finished import FinishedRun
from losses import LOSSES, fpr
from models import build_model
from utils.metrics import detection_metrics
from utils.output import print_line

from . import starts  # noqa: F401  # the losses of this study

IMAGES = 1000
SVHN = "SVHN-crops"
COLUMNS = ("network", "epochs", "loss", "seed", "cosine", "set", "towards", "auroc")


def directions_at_start(config: dict, classes: int) -> Tensor:
    """Return the directions [C, D] of the prototypes with which a run began.

    It seeds the global generator, as the run did.
    """
    torch.manual_seed(config["seed"])
    start = build_model(config["model"], classes, LOSSES[config["loss"]].head)
    return F.normalize(start.classifier.prototypes.detach(), dim=1)


def measure(folder: Path) -> Iterator[dict[str, str | int]]:
    """Yield a row for each set of images."""
    run = FinishedRun(folder, torch.device("cpu"), Path("data/downloads"))
    network, data = run.load_network().eval(), run.load_data()
    config, titles = run.record["config"], run.record["titles"]
    directions = F.normalize(network.classifier.prototypes.detach(), dim=1)
    start = directions_at_start(config, len(directions))
    sources = {entry["title"]: source for source, entry in run.record["detection"].items()}
    images = {"test": data.evaluation["test"], SVHN: data.ood[sources[SVHN]][1]}
    sets = {
        name: part.take(limited(len(part), IMAGES)).first(IMAGES) for name, part in images.items()
    }
    sets["mosaics"] = fpr.mosaics(sets["test"])
    normalize = Normalizer(data.mean, data.std, torch.device("cpu"))
    with torch.no_grad():
        features = {
            name: F.normalize(network.forward_features(normalize(pixels)).float(), dim=1)
            for name, pixels in sets.items()
        }
    nearness = {name: -torch.cdist(each, directions).mean(1) for name, each in features.items()}
    for name, each in features.items():
        yield {
            "network": titles["model"],
            "epochs": config["epochs"],
            "loss": titles["loss"],
            "seed": config["seed"],
            "cosine": f"{F.cosine_similarity(start, directions).mean().item():.3f}",
            "set": name,
            "towards": f"{(each @ directions.mean(0)).mean().item():.4f}",
            "auroc": f"{detection_metrics(nearness['test'], nearness[name])['auroc']:.4f}",
        }


def main(path: str, *folders: str) -> None:
    """Measure the runs one after another."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for folder in folders:
            writer.writerows(measure(Path(folder)))
            print_line(f"{folder} is measured")


if __name__ == "__main__":
    main(*sys.argv[1:])
