"""Measures how far the prototypes of finished runs have turned, and where images lie.

Usage: python -m results.prototypes.turned FILE.csv RUN...

`cosine` is between a prototype at the start and at the end, mean over the classes. `towards` is the
mean cosine between features and prototypes. `auroc` is the AUROC of the mean distance against the
test images. 1,000 images of each set are taken. The mosaics are FPR's, of the test images.
"""

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
from results.measuring import Row, network_of, write
from utils.metrics import detection_metrics

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


def measure(folder: Path) -> Iterator[Row]:
    """Yield a row for each set of images."""
    run = FinishedRun(folder, torch.device("cpu"), Path("data/downloads"))
    network, data = run.load_network().eval(), run.load_data()
    directions = F.normalize(network.classifier.prototypes.detach(), dim=1)
    start = directions_at_start(run.record["config"], len(directions))
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
        yield network_of(run.record) | {
            "cosine": f"{F.cosine_similarity(start, directions).mean().item():.3f}",
            "set": name,
            "towards": f"{(each @ directions.mean(0)).mean().item():.4f}",
            "auroc": f"{detection_metrics(nearness['test'], nearness[name])['auroc']:.4f}",
        }


if __name__ == "__main__":
    path, *folders = sys.argv[1:]
    write(path, COLUMNS, measure, folders)
