"""Runs a network over a data set once; all that is reported are pure functions of what it gave."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from data.catalog import title_of
from utils.calibration import fit_temperature
from utils.metrics import classification_metrics, detection_metrics

from .titles import of_sources

EVALUATION_BATCH = 500


@torch.inference_mode()
def _each_batch(
    model: nn.Module,
    batches: Iterable[Tensor],
    context: AbstractContextManager,
    take: Callable[[dict[str, Tensor]], Any],
) -> list[Any]:
    """Run the network over the batches.

    Returns what `take` makes of each batch's named outputs and features, on the device.
    """
    model.eval()
    found = []
    with context, parametrize.cached():  # a parametrized weight is computed once
        for inputs in batches:
            features = model.forward_features(inputs)
            found.append(
                take({**model.classifier.named_outputs(features), "features": features.float()})
            )
    return found


def predict(
    model: nn.Module, batches: Iterable[Tensor], context: AbstractContextManager
) -> dict[str, Tensor]:
    """The head's named outputs (`logits` [N, C] at temperature 1, and what else it offers) and the
    `features` [N, D], on the CPU.

    Args:
        model: with `forward_features` and a `classifier` that keeps the contract of a head; left in
            evaluation mode.
        batches: the network's inputs.
        context: in which the forward pass runs (autocast).
    """
    parts = _each_batch(model, batches, context, dict)
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


def classify(
    model: nn.Module, batches: Iterable[Tensor], context: AbstractContextManager
) -> Tensor:
    """The class of each image's largest logit, int64 [N], on the device; -1 where a logit is NaN or
    infinite.

    Of equal logits the first counts. The arguments are those of `predict`.
    """

    def largest(outputs: dict[str, Tensor]) -> Tensor:
        logits = outputs["logits"]
        return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)

    return torch.cat(_each_batch(model, batches, context, largest))


def temperature_results(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """The temperature fitted to logits [N, C] and labels [N]: `value`, its `objective`, the other's
    (`by_nll`), `warnings`.
    """
    fitted, messages = {}, {}
    for objective in ("ece", "nll"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted[objective] = fit_temperature(logits, labels, objective)
        messages[objective] = [str(warning.message) for warning in caught]
    # Some warnings hold for both objectives.
    only_nll = [
        f"{message}; it is only recorded, not used"
        for message in messages["nll"]
        if message not in messages["ece"]
    ]
    return {
        "value": fitted["ece"],
        "objective": "ece",
        "by_nll": fitted["nll"],
        "warnings": messages["ece"] + only_nll,
    }


def calibrate(head: nn.Module, outputs: Mapping[str, Tensor], temperature: float) -> None:
    """Put a temperature, and the thresholds of the head's own score of these named outputs, into
    the head; in evaluation mode.
    """
    head.eval()
    head.temperature.fill_(temperature)
    head.set_thresholds(head.all_scores(outputs, temperature)[head.score_type])


def classification_results(
    logits: Tensor, labels: Tensor, temperatures: Mapping[str, float]
) -> dict[str, Any]:
    """The number of images `n`, and `classification_metrics` at each named temperature."""
    # As the fit has them: rounding could move an image to another bin of the ECE.
    logits = logits.double()
    return {"n": len(labels)} | {
        name: classification_metrics(logits / t, labels) for name, t in temperatures.items()
    }


def detection_results(
    all_scores: Callable[[Mapping[str, Tensor], float], dict[str, Tensor]],
    inside: Mapping[str, Tensor],
    outside: Mapping[str, Mapping[str, Tensor]],
    temperatures: Mapping[str, float],
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Out-of-distribution set → temperature's name → score → metric.

    Args:
        all_scores: named outputs and a temperature to scores [N] by name, as a head's `all_scores`.
        inside: the in-distribution images' named outputs.
        outside: those of each out-of-distribution set.
        temperatures: by name.
    """

    def scores(part: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
        # In float64 fewer of the largest probabilities round to 1 and tie.
        return all_scores(
            {name: value.double() for name, value in part.items() if name != "features"},
            temperature,
        )

    results: dict[str, dict[str, Any]] = {source: {} for source in outside}
    for name, temperature in temperatures.items():
        scores_in = scores(inside, temperature)
        for source, part in outside.items():
            scores_out = scores(part, temperature)
            results[source][name] = {
                score: detection_metrics(scores_in[score], scores_out[score]) for score in scores_in
            }
    return results


def evaluation_results(
    all_scores: Callable[[Mapping[str, Tensor], float], dict[str, Tensor]],
    outputs: Mapping[str, Mapping[str, Tensor]],
    labels: Mapping[str, Tensor],
    roles: Mapping[str, str],
    temperature: float,
) -> dict[str, Any]:
    """What a record says of named outputs: `classification` of each split with labels, `detection`
    of each source with a role.
    """
    at = {"t1": 1.0, "calibrated": temperature}
    detected = detection_results(
        all_scores, outputs["test"], {source: outputs[source] for source in roles}, at
    )
    titles = of_sources({source: title_of(source) for source in roles})
    detection = {
        source: {
            "title": titles[source],
            "role": role,
            "n": len(outputs[source]["logits"]),
            "scores": detected[source],
        }
        for source, role in roles.items()
    }
    classification = {
        split: classification_results(outputs[split]["logits"], labels[split], at)
        for split in labels
    }
    return {"classification": classification, "detection": detection}
