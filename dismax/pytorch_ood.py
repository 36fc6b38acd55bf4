"""A detector of ours as a detector of the package pytorch-ood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .detector import Detector
from .detectors.pytorch_ood import import_package


def as_pytorch_ood(detector: Detector) -> Any:
    """Return a `pytorch_ood.api.Detector` that gives a detector's scores, multiplied by -1.

    There, a higher score is more out-of-distribution. It takes what the detector takes: images
    [B, C, H, W], uint8 or floats in [0, 1], not normalised. It needs no fit.

    Raises ValueError if the package is missing or too old.
    """
    _, api = import_package("as_pytorch_ood")

    class Ours(api.Detector):
        """The scores of `model`, a `dismax.detector.Detector`."""

        def __init__(self) -> None:
            self.model = detector

        @torch.no_grad()
        def predict(self, x: Tensor) -> Tensor:
            return -self.model(x.to(self.model.mean.device)).scores

    return Ours()
