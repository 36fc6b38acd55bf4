#!/usr/bin/env python3
"""Prints how a run's network reacts to changed test images.

For each change: confidence, largest and mean logit, and the length of the features.
"""

from pathlib import Path

import torch
import tyro
from tabulate import tabulate
from torch import Tensor

from data.batches import Normalizer
from data.images import EVALUATION_BATCH, resize
from experiment import records, search
from experiment.config import RunConfig
from experiment.data import load_data
from experiment.evaluation import predict
from experiment.network import load_network
from losses.fpr import mosaics
from utils.runtime import autocast, find_device

from .common import check_positive, start


def faded(pixels: Tensor, width: int = 8) -> Tensor:
    """Return mosaics like those of `losses.fpr`, whose four images fade into each other.

    Args:
        pixels: uint8 [N, 3, H, W].
        width: of the fading borders, in pixels.
    """
    right, down = (
        ((torch.arange(size) + 0.5 - size / 2) / width + 0.5).clamp(0, 1)
        for size in (pixels.shape[3], pixels.shape[2])
    )
    down = down[:, None]
    weights = ((1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down)
    mosaic = torch.zeros(pixels.shape)
    for shift, weight in enumerate(weights):
        mosaic += weight * pixels.roll(shift, dims=0)
    return mosaic.round().to(torch.uint8)


def changed(pixels: Tensor) -> dict[str, Tensor]:
    """Return test images without and with each change: uint8 [N, 3, H, W] each."""
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


def rows_of(folder: Path, images: int, device: torch.device) -> list[dict[str, object]]:
    """Return a row for each change of the test images and each out-of-distribution set."""
    config = RunConfig.from_json(records.read_record(folder / records.METRICS)["config"])
    data, network = load_data(config), load_network(folder, device)
    sets = changed(data.evaluation["test"].first(images))
    for source, (_, ood) in data.ood.items():
        sets[Path(source).stem] = ood.first(images)
    normalize = Normalizer(data.mean, data.std, device)
    rows: list[dict[str, object]] = []
    for name, pixels in sets.items():
        batches = (normalize(batch.to(device)) for batch in pixels.split(EVALUATION_BATCH))
        outputs = predict(network, batches, autocast(device, config.precision))
        logits = outputs["logits"]
        confidence = (logits / network.classifier.temperature.cpu()).softmax(1).amax(1)
        row: dict[str, object] = {
            "run": f"{config.loss} {config.seed}",
            "images": name,
            "confidence": f"{confidence.mean():.2f}",
            "max logit": f"{logits.amax(1).mean():.2f}",
            "mean logit": f"{logits.mean():.2f}",
            "length": f"{outputs['features'].norm(dim=1).mean():.2f}",
        }
        rows.append(row)
    return rows


def main(
    runs: tyro.conf.Positional[tuple[Path, ...]], images: int = 2000, device: str = "auto"
) -> None:
    """Print a table of the runs in or below these folders.

    Its numbers are means over images. Logits are at T = 1, confidence is at the fitted T.
    """
    check_positive(images=images)
    where = find_device(device)
    rows = [row for folder in search.run_folders(runs) for row in rows_of(folder, images, where)]
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    start(main, __doc__)
