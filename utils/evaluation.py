"""Runs a network over a data set once; all that is reported are pure functions of what it gave."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from .metrics import detection_metrics


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[Tensor], context: AbstractContextManager) -> dict[str, Tensor]:
    """The head's named outputs (`logits` [N, C] at temperature 1, and what else it offers) on the CPU, in evaluation mode.

    Args:
        model: with `forward_features` and a `classifier` that keeps the contract of a head; its mode is put back afterwards.
        batches: the network's inputs.
        context: in which the forward pass runs (autocast).
    """
    was_training = model.training
    model.eval()
    try:
        with context:
            parts = [model.classifier.named_outputs(model.forward_features(inputs)) for inputs in batches]
    finally:
        model.train(was_training)
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


def detection_results(
    head: nn.Module, inside: Mapping[str, Tensor], outside: Mapping[str, Tensor], temperature: float
) -> dict[str, dict[str, Any]]:
    """Every detection metric of every score the head offers, at a temperature, from named outputs of the two sets."""
    # In float64 fewer of the largest probabilities round to 1 and tie.
    scores = [head.all_scores({name: value.double() for name, value in part.items()}, temperature) for part in (inside, outside)]
    return {name: detection_metrics(scores[0][name], scores[1][name]) for name in scores[0]}
