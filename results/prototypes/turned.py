"""Measures how far the prototypes of finished runs have turned, and where images lie.

Usage: python -m results.prototypes.turned FILE.csv RUN...

`cosine` is between a prototype at the start and at the end, mean over the classes. `towards` is the
mean over images of the cosine between a feature and the mean of the prototypes' directions, times
the length of that mean. `auroc` is the AUROC of the mean distance against the test images. Mosaics
are FPR's, of the test images.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from data.splits import limited
from experiment.finished import FinishedRun
from losses import LOSSES, fpr
from models import Network, build_model
from utils.metrics import detection_metrics
from utils.output import print_line

IMAGES = 1000
SVHN = "SVHN-crops"
COLUMNS = ("network", "epochs", "loss", "seed", "cosine", "set", "towards", "auroc")


def directions_at_start(config: dict, classes: int) -> Tensor:
    """Return the directions [C, D] of the prototypes with which a run began."""
    torch.manual_seed(config["seed"])
    start = build_model(config["model"], classes, LOSSES[config["loss"]].head)
    return F.normalize(start.classifier.prototypes.detach(), dim=1)


def features_of(network: Network, pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the directions [N, D] of the features of images, uint8 [N, 3, H, W]."""
    found = []
    hook = network.classifier.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    with torch.no_grad():
        for batch in pixels.split(250):
            network((batch / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    hook.remove()
    return F.normalize(torch.cat(found).float(), dim=1)


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
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    features = {name: features_of(network, pixels, mean, std) for name, pixels in sets.items()}
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
