"""The scores that a finished run's network is deployed with."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from detectors import FitData, SetOutputs
from dismax.score import DEFAULT, OWN, DeployedScore, fit_to_outputs
from utils.output import print_line

from .run import Run


def fit_scores(
    run: Run, train: Mapping[str, Tensor], positions: Tensor, calibration: Mapping[str, Tensor]
) -> list[DeployedScore]:
    """Return the head's own score and the default one, fitted to the calibrated network's outputs.

    Prints a warning and leaves the default one out if it cannot be fitted.

    Args:
        run: the trained run.
        train: the outputs for the training images at `positions`.
        positions: of the training images that the scores are fitted to.
        calibration: the outputs for the calibration split.
    """
    head = copy.deepcopy(run.model.classifier).cpu()
    temperature = head.temperature.item()
    data = FitData(
        network=None,
        head=head,
        train=SetOutputs(train, labels=run.data.train.labels[positions]),
        calibration=SetOutputs(calibration),
        std=run.data.std,
    )
    scores = [fit_to_outputs(OWN, data, temperature)]
    try:
        scores.append(fit_to_outputs(DEFAULT, data, temperature))
    except (ValueError, torch.linalg.LinAlgError) as error:
        print_line(f"warning: the network has no {DEFAULT} score ({error}), only its head's own")
    return scores
