"""Runs a network over a data set once; all that is reported are pure functions of what it gave."""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from .calibration import fit_temperature
from .metrics import classification_metrics, detection_metrics


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[Tensor], context: AbstractContextManager) -> dict[str, Tensor]:
    """The head's named outputs (`logits` [N, C] at temperature 1, and what else it offers), on the CPU.

    Args:
        model: with `forward_features` and a `classifier` that keeps the contract of a head; left in evaluation mode.
        batches: the network's inputs.
        context: in which the forward pass runs (autocast).
    """
    model.eval()
    with context:
        parts = [model.classifier.named_outputs(model.forward_features(inputs)) for inputs in batches]
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


def calibrate(head: nn.Module, outputs: Mapping[str, Tensor], labels: Tensor) -> dict[str, Any]:
    """Fit the temperature to named outputs and labels [N]; put it and the thresholds of the head's own score into the head.

    Leaves the head in evaluation mode. Returns `value` (the temperature), its `objective`, what the other would have been
    (`by_nll`), and `warnings`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        temperature, by_nll = (fit_temperature(outputs["logits"], labels, objective) for objective in ("ece", "nll"))
    head.eval()
    head.temperature.fill_(temperature)
    head.set_thresholds(head.all_scores(outputs, temperature)[head.score_type])
    messages = [str(warning.message) for warning in caught]
    return {"value": temperature, "objective": "ece", "by_nll": by_nll, "warnings": messages}


def classification_results(logits: Tensor, labels: Tensor, temperatures: Mapping[str, float]) -> dict[str, Any]:
    """The number of images `n`, and `classification_metrics` at each named temperature."""
    logits = logits.double()  # as the fit has them: rounding could move an image to another bin of the ECE
    return {"n": len(labels)} | {name: classification_metrics(logits / t, labels) for name, t in temperatures.items()}


def detection_results(
    head: nn.Module,
    inside: Mapping[str, Tensor],
    outside: Mapping[str, Mapping[str, Tensor]],
    temperatures: Mapping[str, float],
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Out-of-distribution set → temperature's name → score → metric: every score the head offers, from named outputs."""

    def scores(part: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
        # In float64 fewer of the largest probabilities round to 1 and tie.
        return head.all_scores({name: value.double() for name, value in part.items()}, temperature)

    results: dict[str, dict[str, Any]] = {source: {} for source in outside}
    for name, temperature in temperatures.items():
        scores_in = scores(inside, temperature)
        for source, part in outside.items():
            scores_out = scores(part, temperature)
            results[source][name] = {score: detection_metrics(scores_in[score], scores_out[score]) for score in scores_in}
    return results
