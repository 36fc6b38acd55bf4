"""DisMax, the distinction maximization loss (arXiv 2205.05874), with or without FPR."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from . import fpr
from .contract import LossFirstPart
from .criterion import LossSecondPart
from .geometry import direction_logits
from .isomaxplus import IsoMaxPlusLossFirstPart

SMALLEST_BATCH = 2 * fpr.SOURCES - 1  # its larger half is just enough for mosaics


class DisMaxLossFirstPart(IsoMaxPlusLossFirstPart):
    """Logits -(d_j + mean_k d_k), d_j = |s|·‖f̂ - p̂_j‖/√2: IsoMax+'s distances, in [0, √2]·|s|,
    and their mean.

    Parameters: `prototypes` p [C, D], from N(0, 1); `distance_scale` s [1], from 1.
    """

    score_type = "MMLES"
    authors_extras: ClassVar = {"validationset_available": (1,), "precomputed_thresholds": (2, 25)}

    def raw_logits(self, features: Tensor) -> Tensor:
        return direction_logits(
            features, self.prototypes, self.distance_scale, factor=-1 / math.sqrt(2), add_mean=True
        )


class DisMaxLossSecondPart(LossSecondPart):
    """DisMax's criterion.

    In training with FPR, the batch that `preprocess` returned gives ½·CE(E·logits) on its plain
    half plus ½·α·KL(q ‖ softmax(E·logits)) on its mosaics, with q as `fpr.fractional_targets`
    defines it and E = 10. Without FPR, and on a tail too small for mosaics, it is CE(E·logits). In
    evaluation mode it is CE(logits).

    Args:
        classifier: the model's `DisMaxLossFirstPart`.
        regularization: "fpr", or None to train without.
        alpha: the weight α of the mosaics' half, 0 or more.
    """

    entropic_scale = 10.0

    def __init__(
        self, classifier: LossFirstPart, regularization: str | None = "fpr", alpha: float = 1.0
    ):
        super().__init__(classifier)
        if regularization not in ("fpr", None):
            raise ValueError(f'regularization is "fpr" or None, got {regularization!r}')
        if not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"alpha is a finite number of 0 or more, got {alpha}")
        self.regularization, self.alpha = regularization, alpha
        self._targets: Tensor | None = None  # what `preprocess` returned last
        self._plain = 0  # how many of them, from the start, are images as they were

    def preprocess(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        generator: torch.Generator | None = None,
        tail: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Shuffle the batch, keep its first ⌊B/2⌋ images and turn the rest into mosaics.

        In evaluation mode or without FPR it changes nothing.

        The returned targets are class indices [B], for a mosaic those of its top-left image. Pass
        them to the criterion as they are: it knows them by identity. Raises ValueError for a batch
        under 7 images (unless it is a tail) or of odd sides, and RuntimeError for a batch that has
        been through it.
        """
        if self.regularization is None or not self.classifier.training:
            return inputs, targets
        if inputs.ndim < 4 or targets.shape != inputs.shape[:1]:
            given = f"{list(inputs.shape)} and {list(targets.shape)}"
            raise ValueError(
                f"FPR mixes images [B, channels, H, W] with class indices [B], got {given}: for "
                "inputs that are no images "
                "make the criterion with regularization=None"
            )
        if targets is self._targets and self._plain < len(targets):
            raise RuntimeError(
                "this batch was preprocessed already: keep preprocess's outputs under names of "
                "their own"
            )
        if len(inputs) < SMALLEST_BATCH:
            if tail:
                self._targets, self._plain = targets, len(targets)
                return inputs, targets
            raise ValueError(
                f"a batch of {len(inputs)} is too small for FPR, which mixes half of it in fours: "
                f"take {SMALLEST_BATCH} images "
                "or more (for a DataLoader's short last batch: drop_last=True, or tail=True here)"
            )
        order = torch.randperm(len(inputs), device=inputs.device, generator=generator)
        inputs, targets = inputs[order], targets[order.to(targets.device)]
        plain = len(targets) // 2
        mixed = torch.cat([inputs[:plain], fpr.mosaics(inputs[plain:])])
        self._targets, self._plain = targets, plain
        return mixed, targets

    def unmixed(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return (
            (logits[: self._plain], targets[: self._plain])
            if targets is self._targets
            else (logits, targets)
        )

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.regularization is None:
            return super().training_loss(logits, targets)
        if targets is not self._targets:
            raise RuntimeError(
                "FPR needs `inputs, targets = criterion.preprocess(inputs, targets)` before each "
                "forward pass, and the targets it "
                "returned here (move the batch to its device before preprocess; "
                "regularization=None trains without FPR)"
            )
        plain = super().training_loss(logits[: self._plain], targets[: self._plain])
        if self._plain == len(targets):
            return plain
        q = fpr.fractional_targets(targets[self._plain :], logits.shape[1], logits.dtype)
        log_p = F.log_softmax(self.entropic_scale * logits[self._plain :], dim=1)
        return 0.5 * plain + 0.5 * self.alpha * F.kl_div(log_p, q, reduction="batchmean")
