#!/usr/bin/env python3
"""Measures what a deployed network's score costs: the time of a batch and the size of model.pt."""

import io

import torch

from detectors import FitData, SetOutputs
from dismax.detector import Detector
from dismax.score import OWN, DeployedScore, check_deployable, fit_to_outputs
from models import Network
from utils.runtime import find_device, keep_freed_memory

from .common import check_models, check_positive, in_turns, show, start
from .inference import network_of

CPU = torch.device("cpu")


@torch.no_grad()
def score_of(name: str, network: Network, classes: int, train: int, held_out: int) -> DeployedScore:
    """Return a score that is fitted to random features, which do not change its time or size.

    Args:
        name: of the score.
        network: it is deployed with this network, on the CPU.
        classes: of the network.
        train: number of training images that it is fitted to.
        held_out: number of held-out images.
    """
    generator = torch.Generator().manual_seed(0)

    def outputs(count: int) -> SetOutputs:
        features = torch.randn(count, network.num_features, generator=generator).relu()
        found = network.classifier.named_outputs(features) | {"features": features}
        return SetOutputs(found, labels=torch.arange(count) % classes)

    data = FitData(None, network.classifier, outputs(train), outputs(held_out), std=())
    return fit_to_outputs(name, data, temperature=1.0)


def megabytes(network: Network, score: DeployedScore | None) -> float:
    """Return the size of the weights and of a score in a file, in MB."""
    buffer = io.BytesIO()
    torch.save([network.state_dict(), score and score.pack()], buffer)
    return buffer.tell() / 1e6


def times_of(
    model: str,
    detectors: dict[str, Detector],
    batch: int,
    repeats: int,
    device: torch.device,
) -> dict[str, str]:
    """Return a row of the table of times."""
    images = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8, device=device)
    sides = {name: lambda detect=detect: detect(images) for name, detect in detectors.items()}
    with torch.inference_mode():
        seconds = in_turns(sides, repeats)
    own = seconds.pop(OWN)
    row = {"network": model, "batch": f"{batch}", "own, ms": f"{own * 1e3:.2f}"}
    return row | {name: f"{duration / own:.3f}" for name, duration in seconds.items()}


def main(
    models: tuple[str, ...] = ("wideresnet102", "densenetbc100", "resnet34"),
    scores: tuple[str, ...] = ("knn", "mahalanobis", "combined"),
    loss: str = "dismax",
    classes: int = 10,
    batches: tuple[int, ...] = (1, 64),
    train: int = 45_000,
    held_out: int = 5_000,
    repeats: int = 15,
    device: str = "auto",
) -> None:
    """Print times with each score as ratios to the time with the head's own score, and sizes.

    Args:
        models: networks, for images of 32×32 pixels.
        scores: as detect.py --deploy takes them.
        loss: whose head the networks have.
        classes: of each network.
        batches: images in a batch.
        train: number of training images.
        held_out: number of held-out images.
        repeats: measurements of each score.
        device: as main.py's.
    """
    check_positive(classes=classes, train=train, held_out=held_out, batches=min(batches, default=0))
    check_models(models)
    for name in scores:
        check_deployable(name)
    keep_freed_memory()  # as main.py does
    where = find_device(device)
    times, sizes = [], []
    for model in models:
        network = network_of(loss, model, classes, CPU)
        network.classifier.set_thresholds(torch.arange(100.0))
        fitted = {name: score_of(name, network, classes, train, held_out) for name in scores}
        choices = {OWN: None, **fitted}
        detectors = {
            name: Detector(network, (0.5,) * 3, (0.2,) * 3, score=score).to(where)
            for name, score in choices.items()
        }
        times += [times_of(model, detectors, batch, repeats, where) for batch in batches]
        megabytes_of = {name: f"{megabytes(network, score):.2f}" for name, score in choices.items()}
        sizes.append({"MB": model, **megabytes_of})
    title = f"A detector's time with each score: times that with the head's own, {loss}, float32"
    show(title, where, times)
    show(f"Weights and score, for {classes} classes and {train:,} training images", where, sizes)


if __name__ == "__main__":
    start(main, __doc__)
