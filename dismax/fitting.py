"""Fits a temperature, thresholds and a score to a trained network."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from . import metrics
from .body import find_head
from .calibration import fit_and_judge
from .detectors import FitData, get_detector
from .losses.thresholds import percentiles
from .outputs import outputs_of
from .score import FIT_IMAGES, OWN, DeployedScore, check_deployable, fit_to_outputs

FEWEST_IMAGES = 20  # with so few or fewer, the threshold for 95 % is the lowest score of all


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` did. `print` shows it in a few lines.

    ECE and NLL are those of the images that the temperature was fitted to, "before" at the
    temperature that the head had, "after" at the new one.
    """

    temperature: float
    images: int
    accuracy: float  # in [0, 1]
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"temperature {self.temperature:.4g}, fitted to {self.images:,} images "
            f"(accuracy {self.accuracy:.1%})",
            f"ECE {self.ece_before:.4f} -> {self.ece_after:.4f}, "
            f"NLL {self.nll_before:.4f} -> {self.nll_after:.4f}",
        ]
        return "\n".join(lines + [f"warning: {warning}" for warning in self.warnings])


def calibrate(network: nn.Module, loader: Iterable[Any], objective: str = "ece") -> Calibration:
    """Fit the head's temperature, set its thresholds, and return a report.

    The network runs in evaluation mode without gradients, on its own device. Its mode stays as it
    is. `eval()` keeps the calibration, `train()` forgets it, as new weights need a new one.

    Args:
        network: a trained network that ends with a head of `dismax.losses`. It may be compiled, or
            wrapped for several GPUs.
        loader: gives (inputs, labels) as tuples or lists, the inputs normalised as in training.
            Further entries are ignored. Take images that did not train the network.
        objective: "ece" or "nll", as in `fit_temperature`.

    Warns if the temperature or the thresholds rest on too little. The report holds the warnings
    too.

    Raises ValueError, and changes nothing, for a network without such a head, for other batches,
    and for outputs that are not finite.
    """
    found, _ = outputs_of(network, loader)
    head = find_head(network)
    logits, labels = found.outputs["logits"], found.labels
    temperature, messages = fit_and_judge(logits, labels, objective)
    before = metrics.classification_metrics(logits / head.temperature.item(), labels)
    temperature = head.temperature.new_tensor(temperature).item()  # float32 rounds it
    after = metrics.classification_metrics(logits / temperature, labels)
    thresholds = percentiles(head.scores(found.outputs, temperature), head.thresholds.dtype)
    head.temperature.data.fill_(temperature)
    head.thresholds.data.copy_(thresholds)
    if len(labels) <= FEWEST_IMAGES:
        messages.append(
            f"{len(labels)} images are too few for thresholds: the one for 95 % is the lowest "
            "score of all"
        )
    for message in messages:
        warnings.warn(message, stacklevel=2)
    return Calibration(
        temperature,
        len(labels),
        after["accuracy"],
        before["ece"],
        after["ece"],
        before["nll"],
        after["nll"],
        tuple(messages),
    )


def fit_score(
    network: nn.Module, name: str, train: Iterable[Any], held_out: Iterable[Any]
) -> DeployedScore:
    """Fit a score to a network's features and outputs, for `Detector(..., score=)`.

    The network runs as in `calibrate`, at most once over each loader. Its calibration may come
    before or after; only "own" uses the temperature.

    Args:
        network: a trained network that ends with a head of `dismax.losses`.
        name: a row of the table of detectors that needs no gradient: "combined", "mahalanobis",
            "knn", ...; or "own", the head's own score.
        train: the images that trained the network, without augmentation, as in `calibrate`. At
            most 50,000 of them are used, a random sample. Scores of logits do not read them.
        held_out: other images of the same kind. The thresholds are percentiles of their scores.

    Raises ValueError for an unknown name, for other batches, and for scores that are not finite;
    NotApplicable, a ValueError, for a score that does not apply to the head.
    """
    check_deployable(name)
    calibration, head = outputs_of(network, held_out)
    needs_images = name != OWN and get_detector(name).needs == "features"
    images = outputs_of(network, train, FIT_IMAGES)[0] if needs_images else None
    temperature = head.temperature.item()
    head.temperature.fill_(1)  # detectors are defined for it
    data = FitData(None, head.float(), images, calibration, std=())
    return fit_to_outputs(name, data, temperature)
