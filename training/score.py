"""The score that a finished run's network is deployed with."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from data.sources import limited
from detectors import FitData, NotApplicable, SetOutputs
from dismax.score import DEFAULT, DeployedScore, fit_score
from utils.output import print_line

from .run import Run

# Enough for the mean of a class and for the covariance. More would take memory and time: all
# features and logits of ImageNet's training images are 8 GB.
IMAGES = 50_000


def positions_to_fit(count: int) -> Tensor:
    """Return the positions of the training images that the score is fitted to."""
    return limited(count, IMAGES)


def fit_default(
    run: Run, train: Mapping[str, Tensor], positions: Tensor, calibration: Mapping[str, Tensor]
) -> DeployedScore | None:
    """Return the default score, fitted to the outputs of the network, which is calibrated.

    Prints a warning and returns None if it cannot be fitted.

    Args:
        run: the trained run.
        train: the outputs for the training images at `positions`.
        positions: of `positions_to_fit`.
        calibration: the outputs for the calibration split.
    """
    data = FitData(
        network=None,
        head=copy.deepcopy(run.model.classifier).cpu(),
        train=SetOutputs(train, labels=run.data.train.labels[positions]),
        calibration=SetOutputs(calibration),
        std=run.data.std,
    )
    try:
        return fit_score(DEFAULT, data)
    except (NotApplicable, ValueError, torch.linalg.LinAlgError) as error:
        print_line(f"warning: the network has no {DEFAULT} score ({error}), only its head's own")
    return None
