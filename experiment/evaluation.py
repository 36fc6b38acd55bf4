"""Runs a network over data sets once, and computes everything that a record says of the outputs."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from data.catalog import title_of
from losses import LossFirstPart
from models import Network
from utils.calibration import fit_and_judge
from utils.metrics import classification_metrics

from .scoring import AllScores, Outputs, score_results
from .titles import of_sources


def predict(
    model: Network, batches: Iterable[Tensor], context: AbstractContextManager
) -> dict[str, Tensor]:
    """The network's outputs for all images, on the CPU.

    Args:
        model: a network with `forward_features` and a `classifier`, which is a head. It is left in
            evaluation mode.
        batches: the network's inputs.
        context: the context of the forward pass (autocast).

    Returns:
        the head's named outputs, `logits` [N, C] at temperature 1 among them, and the `features`
        [N, D].
    """
    parts = _map_batches(model, batches, context, dict)
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


def classify(model: Network, batches: Iterable[Tensor], context: AbstractContextManager) -> Tensor:
    """The class with the largest logit for each image, int64 [N], on the device.

    The first class wins a tie. The class is -1 if a logit is NaN or infinite. The arguments are
    those of `predict`.
    """

    def largest(outputs: dict[str, Tensor]) -> Tensor:
        logits = outputs["logits"]
        return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)

    return torch.cat(_map_batches(model, batches, context, largest))


@torch.inference_mode()
def _map_batches(
    model: Network,
    batches: Iterable[Tensor],
    context: AbstractContextManager,
    function: Callable[[dict[str, Tensor]], Any],
) -> list[Any]:
    """The results of a function of the outputs and features of each batch, on the device."""
    model.eval()
    results = []
    with context, parametrize.cached():  # computes a parametrized weight once
        for inputs in batches:
            features = model.forward_features(inputs)
            outputs = dict(model.classifier.named_outputs(features))
            outputs["features"] = features.float()
            results.append(function(outputs))
    return results


def temperature_results(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """The fitted temperature, as a record has it.

    Args:
        logits: [N, C] at temperature 1.
        labels: classes [N].

    Returns:
        `value`, fitted by the `objective`; `by_nll`, fitted by the negative log-likelihood for
        comparison; and `warnings`.
    """
    fitted, messages = {}, {}
    for objective in ("ece", "nll"):
        fitted[objective], messages[objective] = fit_and_judge(logits, labels, objective)
    # Some warnings hold for both objectives.
    only_nll = [message for message in messages["nll"] if message not in messages["ece"]]
    return {
        "value": fitted["ece"],
        "objective": "ece",
        "by_nll": fitted["nll"],
        "warnings": messages["ece"]
        + [f"{message}; it is only recorded, not used" for message in only_nll],
    }


def calibrate(head: LossFirstPart, outputs: Outputs, temperature: float) -> None:
    """Give a head its temperature and the thresholds of its own score. Sets evaluation mode.

    Args:
        head: the head.
        outputs: its outputs for the calibration split. The thresholds are percentiles of their
            scores.
        temperature: the fitted temperature.
    """
    head.eval()
    head.temperature.fill_(temperature)
    head.set_thresholds(head.scores(outputs, temperature))


def classification_results(
    logits: Tensor, labels: Tensor, temperatures: Mapping[str, float]
) -> dict[str, Any]:
    """The number of images `n`, and `classification_metrics` at each named temperature."""
    # In float64, like the fit: rounding could move an image to another bin of the ECE.
    logits = logits.double()
    results: dict[str, Any] = {"n": len(labels)}
    for name, temperature in temperatures.items():
        results[name] = classification_metrics(logits / temperature, labels)
    return results


def evaluation_results(
    all_scores: AllScores,
    outputs: Mapping[str, Outputs],
    labels: Mapping[str, Tensor],
    roles: Mapping[str, str],
    temperature: float,
) -> dict[str, Any]:
    """The metrics of a record.

    Args:
        all_scores: computes all scores, such as a head's method `all_scores`.
        outputs: split or out-of-distribution set → outputs.
        labels: split → classes [N].
        roles: out-of-distribution set → near, far or very_far.
        temperature: the fitted temperature.

    Returns:
        `classification` of each split, `misclassification` of the test images, and `detection` of
        each out-of-distribution set.
    """
    at = {"t1": 1.0, "calibrated": temperature}
    ood_outputs = {source: outputs[source] for source in roles}
    misclassification, scores = score_results(
        all_scores, outputs["test"], labels["test"], ood_outputs, at
    )
    titles = of_sources({source: title_of(source) for source in roles})
    detection = {
        source: {
            "title": titles[source],
            "role": role,
            "n": len(outputs[source]["logits"]),
            "scores": scores[source],
        }
        for source, role in roles.items()
    }
    classification = {
        split: classification_results(outputs[split]["logits"], labels[split], at)
        for split in labels
    }
    return {
        "classification": classification,
        "misclassification": misclassification,
        "detection": detection,
    }
