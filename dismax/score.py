"""A detector's score with its thresholds: what a deployed network decides by, if not by its head's
own score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from . import versions
from .detectors import DETECTORS, FitData, NotApplicable, Score, get_detector
from .detectors.common import ROWS
from .detectors.contract import required
from .detectors.own import Own
from .detectors.saved import pack, unpack
from .losses import LossFirstPart
from .losses.common import without_autocast
from .losses.thresholds import (
    PERCENTILES,
    class_percentiles,
    class_thresholds_at,
    images_for,
    no_thresholds,
    percentiles,
    threshold_at,
)

OWN = "own"  # the head's own score, at the fitted temperature
DEFAULT = "combined"
# A score is fitted to at most so many training images. They are enough for the mean of a class and
# for the covariance. More would take memory and time: all features and logits of ImageNet's
# training images are 8 GB.
FIT_IMAGES = 50_000
GRADIENTS = "needs the network's gradients or layers"
MAX_NAMES = 5  # of classes in an error message


class DeployedScore(nn.Module):
    """A score in float32, and its thresholds.

    Args:
        name: the score's row in the table of detectors.
        score: the fitted score.
        thresholds: percentiles of the scores of held-out images [len(PERCENTILES)]. They are NaN
            until `set_thresholds` is called, as those of a head.
        class_thresholds: the same for each predicted class [C, len(PERCENTILES)].
        class_counts: the number of held-out images of each predicted class [C].
    """

    thresholds: Tensor
    class_thresholds: Tensor | None
    class_counts: Tensor | None

    def __init__(
        self,
        name: str,
        score: Score,
        thresholds: Tensor | None = None,
        class_thresholds: Tensor | None = None,
        class_counts: Tensor | None = None,
    ):
        super().__init__()
        self.name = name
        self.score = score
        self.register_buffer("thresholds", no_thresholds() if thresholds is None else thresholds)
        self.register_buffer("class_thresholds", class_thresholds)
        self.register_buffer("class_counts", class_counts)

    def forward(self, outputs: Mapping[str, Tensor], head: LossFirstPart) -> Tensor:
        """Return scores [B]; NaN if the features or the largest logit are not finite.

        All is computed in float32 or wider, under autocast too, as the thresholds were.

        Args:
            outputs: "features" [B, D] and the head's named outputs.
            head: the head that gave them.
        """
        outputs = {name: value.to(self.thresholds.dtype) for name, value in outputs.items()}
        finite = outputs["features"].isfinite().all(1) & outputs["logits"].amax(1).isfinite()
        with without_autocast(outputs["features"]):
            return self.score(outputs, head).where(finite, torch.nan)

    @torch.no_grad()
    def of(self, outputs: Mapping[str, Tensor], head: LossFirstPart) -> Tensor:
        """Return the same as `forward` for the outputs of a whole set of images.

        Piece by piece: the distances of all images to KNN's bank may not fit into memory.
        """
        pieces = zip(*(value.split(ROWS) for value in outputs.values()), strict=True)
        return torch.cat([self(dict(zip(outputs, piece, strict=True)), head) for piece in pieces])

    def set_thresholds(self, outputs: Mapping[str, Tensor], head: LossFirstPart) -> None:
        """Set the thresholds, those of each class too, from the outputs for held-out images.

        If the score compares with held-out images, as "combined" does, these must be the same ones
        in the same order.

        Raises ValueError for another number of images than those, and for scores that are not
        finite.
        """
        scores = self.score.held_out_scores()
        if scores is None:
            scores = self.of(outputs, head)
        predicted = outputs["logits"].argmax(1)
        if len(scores) != len(predicted):
            raise ValueError(
                f"the score {self.name} was fitted with {len(scores)} held-out images, got "
                f"{len(predicted)}: give it the same ones, or fit it again"
            )
        self.thresholds = percentiles(scores)
        self.class_thresholds = class_percentiles(scores, predicted, head.num_classes)
        self.class_counts = predicted.bincount(minlength=head.num_classes)

    def threshold(self, tpr: float) -> float:
        """Return the score that at least the share `tpr` of held-out images reached.

        Raises ValueError for a share outside [0, 1].
        """
        return threshold_at(self.thresholds, tpr)

    def class_threshold(self, tpr: float, class_names: Sequence[str] = ()) -> Tensor:
        """Return a threshold for each class [C]: the score that, of new in-distribution images with
        this predicted class, at least the share `tpr` is expected to reach.

        Raises ValueError if a class has too few held-out images for this share, or if the score was
        fitted without classes.
        """
        if self.class_thresholds is None or self.class_counts is None:
            raise ValueError(
                f"the score {self.name} has no thresholds for each class: fit it again (a run's: "
                f"`python detect.py RUN --deploy {self.name}`)"
            )
        thresholds = class_thresholds_at(self.class_thresholds, tpr)
        needed = images_for(tpr)
        few = (self.class_counts < needed).nonzero().flatten().tolist()
        if few:
            listed = [
                f"{class_names[c] if class_names else c} ({int(self.class_counts[c])})"
                for c in few[:MAX_NAMES]
            ]
            more = f" and {len(few) - MAX_NAMES} more" if len(few) > MAX_NAMES else ""
            raise ValueError(
                f"a threshold for each class at {tpr:.4g} needs {needed} held-out images or more "
                f"predicted as that class, too few are {', '.join(listed)}"
                f"{more}: take a lower share, more images, or one threshold for all"
            )
        return thresholds

    def pack(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return {
            "version": versions.of(self.name),
            "score": pack(self.score),
            "thresholds": self.thresholds,
            "class_thresholds": self.class_thresholds,
            "class_counts": self.class_counts,
        }

    @classmethod
    def unpack(cls, name: str, content: Mapping[str, Any], head: LossFirstPart) -> DeployedScore:
        """Return the score that `pack` wrote, for a network with this head.

        Raises ValueError if it does not fit the head, if a number is not finite, or if this version
        computes the score in another way.
        """
        if content["version"] != versions.of(name):
            raise ValueError(f"the score {name} is computed in another way now: deploy it again")
        deployed = cls(
            name,
            unpack(content["score"]),
            content["thresholds"],
            content.get("class_thresholds"),  # older files lack them
            content.get("class_counts"),
        ).float()
        deployed._check(head.num_classes)
        features = torch.zeros(2, head.num_features)
        outputs = {**head.named_outputs(features), "features": features}
        if deployed(outputs, head).shape != (2,):
            raise ValueError(f"the score {name} does not return one number for an image")
        return deployed

    def _check(self, num_classes: int) -> None:
        """Raises ValueError for numbers that are not finite, or thresholds of another shape."""
        values = self.state_dict()
        if self.class_thresholds is not None and self.class_counts is not None:
            counts, shape = self.class_counts, self.class_thresholds.shape
            if counts.shape != (num_classes,) or shape != (num_classes, len(PERCENTILES)):
                raise ValueError(f"the score {self.name} lacks thresholds for each class")
            values["class_thresholds"] = self.class_thresholds[counts > 0]  # the others are NaN
        for entry, value in values.items():
            if not value.isfinite().all():
                raise ValueError(f"the score {self.name} has a {entry} that is not finite")
        if self.thresholds.shape != (len(PERCENTILES),):
            raise ValueError(f"the score {self.name} lacks a threshold for each percentile")


def check_deployable(name: str) -> None:
    """Raises ValueError for an unknown detector, and for one that no file can hold."""
    choices = [OWN, *(name for name, row in DETECTORS.items() if row.needs != "network")]
    if name not in choices:
        get_detector(name)
        reason = "is another package's" if name not in DETECTORS else GRADIENTS
        raise ValueError(
            f"{name} {reason}, so it cannot be deployed: choose from {', '.join(choices)}"
        )


def fit_to_outputs(name: str, data: FitData, temperature: float) -> DeployedScore:
    """Fit a detector to a network's in-distribution outputs, and set its thresholds.

    Args:
        name: a row of the table of detectors that needs no gradient: "combined", "knn", ...; or
            "own", the head's own score.
        data: the thresholds are those of `data.calibration`.
        temperature: the head's fitted temperature, for its own score.

    Raises what `check_deployable` raises, ValueError for scores that are not finite, and
    NotApplicable for a detector that does not apply to this head.
    """
    check_deployable(name)
    head = cast(LossFirstPart, required(data.head, "the head"))
    with torch.device("cpu"):  # of the outputs; a script may have another default
        deployed = DeployedScore(name, Own(temperature) if name == OWN else _fitted(name, data))
        deployed.set_thresholds(data.calibration.outputs, head)
    return deployed


def _fitted(name: str, data: FitData) -> Score:
    """Return the score of a detector, fitted, in float32."""
    detector = get_detector(name)
    if reason := detector.refuses(required(data.head, "the head")):
        raise NotApplicable(f"{name} {reason}")
    return required(detector.fit(data).deployable, "a score of its outputs").float()
