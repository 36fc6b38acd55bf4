"""A detector's score with its thresholds: what a deployed network decides by, if not by its head's
own score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from . import versions
from .detectors import DETECTORS, FitData, NotApplicable, Score, get_detector
from .detectors.common import ROWS
from .detectors.contract import required
from .detectors.saved import pack, unpack
from .losses import LossFirstPart
from .losses.common import at_least_float32
from .losses.thresholds import PERCENTILES, percentiles, threshold_at

OWN = "own"  # the head's own score, at the fitted temperature
DEFAULT = "combined"


class DeployedScore(nn.Module):
    """A score in float32, and its thresholds.

    Args:
        name: the score's row in the table of detectors.
        score: the fitted score.
        thresholds: percentiles of the scores of held-out images [len(PERCENTILES)].
    """

    thresholds: Tensor

    def __init__(self, name: str, score: Score, thresholds: Tensor):
        super().__init__()
        self.name = name
        self.score = score
        self.register_buffer("thresholds", thresholds)

    def forward(self, outputs: Mapping[str, Tensor], head: LossFirstPart) -> Tensor:
        """Return scores [B]; NaN if the features or the largest logit are not finite.

        Args:
            outputs: "features" [B, D] and the head's named outputs.
            head: the head that gave them.
        """
        outputs = {name: at_least_float32(value) for name, value in outputs.items()}
        finite = outputs["features"].isfinite().all(1) & outputs["logits"].amax(1).isfinite()
        return self.score(outputs, head).where(finite, torch.nan)

    @torch.no_grad()
    def of(self, outputs: Mapping[str, Tensor], head: LossFirstPart) -> Tensor:
        """Return the same as `forward` for the outputs of a whole set of images.

        Piece by piece: the distances of all images to KNN's bank may not fit into memory.
        """
        pieces = zip(*(value.split(ROWS) for value in outputs.values()), strict=True)
        return torch.cat([self(dict(zip(outputs, piece, strict=True)), head) for piece in pieces])

    def threshold(self, tpr: float) -> float:
        """Return the score that at least the share `tpr` of held-out images reached.

        Raises ValueError for a share outside [0, 1].
        """
        return threshold_at(self.thresholds, tpr)

    def pack(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return {
            "version": versions.of(self.name),
            "score": pack(self.score),
            "thresholds": self.thresholds,
        }

    @classmethod
    def unpack(cls, name: str, content: Mapping[str, Any], head: LossFirstPart) -> DeployedScore:
        """Return the score that `pack` wrote, for a network with this head.

        Raises ValueError if it does not fit the head, if a number is not finite, or if this version
        computes the score in another way.
        """
        if content["version"] != versions.of(name):
            raise ValueError(f"the score {name} is computed in another way now: deploy it again")
        deployed = cls(name, unpack(content["score"]), content["thresholds"]).float()
        for entry, value in deployed.state_dict().items():
            if not value.isfinite().all():
                raise ValueError(f"the score {name} has a {entry} that is not finite")
        if deployed.thresholds.shape != (len(PERCENTILES),):
            raise ValueError(f"the score {name} has not a threshold for each percentile")
        features = torch.zeros(2, head.num_features)
        outputs = {**head.named_outputs(features), "features": features}
        if deployed(outputs, head).shape != (2,):
            raise ValueError(f"the score {name} does not return one number for an image")
        return deployed


def check_deployable(name: str) -> None:
    """Raises ValueError for an unknown detector, or for one that needs gradients."""
    if get_detector(name).needs == "network":
        choices = [name for name, row in DETECTORS.items() if row.needs != "network"]
        raise ValueError(
            f"{name} needs the network's gradients or layers, so it cannot be deployed: choose "
            f"from {', '.join(choices)}"
        )


def fit_score(name: str, data: FitData) -> DeployedScore:
    """Fit a detector to a network's in-distribution outputs, and set its thresholds.

    Args:
        name: a row of the table of detectors that needs no gradient: "combined", "knn", ...
        data: the thresholds are those of `data.calibration`.

    Raises what `check_deployable` raises, ValueError for scores that are not finite, and
    NotApplicable for a detector that does not apply to this head.
    """
    check_deployable(name)
    detector = get_detector(name)
    head = cast(LossFirstPart, required(data.head, "the head"))
    if reason := detector.refuses(head):
        raise NotApplicable(f"{name} {reason}")
    score = required(detector.fit(data).deployable, "a score of its outputs").float()
    nothing = torch.full((1,), torch.nan)  # until the scores are known
    deployed = DeployedScore(name, score, nothing)
    deployed.thresholds = percentiles(deployed.of(data.calibration.outputs, head))
    return deployed


def choose(scores: Mapping[str, DeployedScore], name: str | None) -> DeployedScore | None:
    """Return the score of this name, or None for "own", the head's.

    By default it is "combined" if it is there, else the head's.

    Raises ValueError for a name that is not there.
    """
    if name is None:
        return scores.get(DEFAULT)
    if name == OWN:
        return None
    if name not in scores:
        raise ValueError(
            f"it has no score {name}, only {', '.join((OWN, *scores))}: `python detect.py RUN "
            f"--deploy {name}` adds it"
        )
    return scores[name]
