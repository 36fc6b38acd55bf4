#!/usr/bin/env python3
"""What a run's network makes of changed test images: confidence, largest and mean logit, and the
length of features.
"""

from pathlib import Path

import torch
import tyro
from tabulate import tabulate
from torch import Tensor

from data.batches import Normalizer
from data.images import resize
from experiment import records, search
from experiment.config import RunConfig
from experiment.data import load_data
from experiment.evaluation import predict
from experiment.network import load_network
from losses.fpr import mosaics
from utils.runtime import autocast, find_device

from .common import check_positive, start


def faded(pixels: Tensor, width: int = 8) -> Tensor:
    """Mosaics as `losses.fpr` makes them, but with the four images faded into each other over so
    many pixels.
    """
    across, down = (
        ((torch.arange(n) + 0.5 - n / 2) / width + 0.5).clamp(0, 1) for n in pixels.shape[:1:-1]
    )
    down = down[:, None]
    weights = ((1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down)
    return (
        sum(weight * pixels.roll(places, dims=0) for places, weight in enumerate(weights))
        .round()
        .to(torch.uint8)
    )


def changed(pixels: Tensor) -> dict[str, Tensor]:
    """Test images as they are, and changed: uint8 [N, 3, H, W] each."""
    height, width = pixels.shape[2:]
    mean = pixels.float().mean((2, 3), keepdim=True)
    return {
        "test": pixels,
        "mosaics of four": mosaics(pixels),
        "faded mosaics": faded(pixels),
        "half the resolution": resize(resize(pixels, (height // 2, width // 2)), (height, width)),
        "half the contrast": ((pixels + mean) / 2).round().to(torch.uint8),
        "flat": mean.expand_as(pixels).round().to(torch.uint8),
    }


def seen(folder: Path, images: int, device: torch.device) -> list[dict[str, object]]:
    """A row for each kind of images."""
    config = RunConfig.from_json(records.read_record(folder / records.METRICS)["config"])
    data, network = load_data(config), load_network(folder, device)
    sets = changed(data.evaluation["test"].first(images))
    sets |= {Path(source).stem: part.first(images) for source, (_, part) in data.ood.items()}
    normalize, rows = Normalizer(data.mean, data.std, device), []
    for name, pixels in sets.items():
        outputs = predict(
            network,
            (normalize(part.to(device)) for part in pixels.split(500)),
            autocast(device, config.precision),
        )
        logits = outputs["logits"]
        confidence = (logits / network.classifier.temperature.cpu()).softmax(1).amax(1)
        numbers = (
            confidence.mean(),
            logits.amax(1).mean(),
            logits.mean(),
            outputs["features"].norm(dim=1).mean(),
        )
        said = dict(
            zip(
                ("confidence", "max logit", "mean logit", "length"),
                (f"{x:.2f}" for x in numbers),
                strict=True,
            )
        )
        rows.append({"run": f"{config.loss} {config.seed}", "images": name} | said)
    return rows


def main(
    runs: tyro.conf.Positional[tuple[Path, ...]], images: int = 2000, device: str = "auto"
) -> None:
    """Print a table of the runs in or below these folders: means over images; logits at T = 1,
    confidence at the fitted T.
    """
    check_positive(images=images)
    where = find_device(device)
    rows = [row for folder in search.run_folders(runs) for row in seen(folder, images, where)]
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    start(main, __doc__)
