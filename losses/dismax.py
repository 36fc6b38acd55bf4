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
from .directions import direction_logits
from .isomaxplus import IsoMaxPlusLossFirstPart


class DisMaxLossFirstPart(IsoMaxPlusLossFirstPart):
    """Head with logits -(d_j + mean_k d_k), d_j = |s|·‖f̂ - p̂_j‖/√2.

    d_j is IsoMax+'s distance divided by √2, in [0, √2]·|s|.

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

    With FPR the training loss is ½·CE(E·logits) of the plain half of the batch plus
    ½·α·KL(q ‖ softmax(E·logits)) of its mosaics, with E = 10 and q from `fpr.fractional_targets`.
    Without FPR, and for a last batch that is too small for mosaics, it is CE(E·logits). In
    evaluation mode it is CE(logits).

    Args:
        classifier: the model's `DisMaxLossFirstPart`.
        regularization: "fpr", or None to train without it.
        alpha: the weight α of the mosaics' loss, 0 or more.
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
        self.regularization = regularization
        self.alpha = alpha

    def preprocess(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        generator: torch.Generator | None = None,
        tail: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Shuffle the batch, keep its first ⌊B/2⌋ images and turn the rest into mosaics.

        In evaluation mode, or without FPR, the batch does not change.

        Returns:
            The inputs, and class indices [B, 4]. A mosaic has the classes of its quadrants; a
            plain image has its class and `fpr.NO_CLASS` three times. Give the criterion the whole
            batch in this order, else the loss is NaN. `unmixed` selects the plain images, for an
            accuracy.

        Raises:
            ValueError: for a batch under 7 images (unless it is a tail), images of odd height or
                width, or inputs that are not images.
            RuntimeError: for a batch that has been preprocessed before.
            TypeError: for inputs or targets that are no tensors.
        """
        if self.regularization is None or not self.classifier.training:
            return inputs, targets
        fpr.check_batch(inputs, targets)
        if len(inputs) < fpr.SMALLEST_BATCH:
            if tail:
                return inputs, fpr.quadrant_classes(targets)
            raise ValueError(
                f"a batch of {len(inputs)} is too small for FPR, which mixes half of it in fours: "
                f"take {fpr.SMALLEST_BATCH} images or more (for a DataLoader's short last batch: "
                "drop_last=True, or tail=True here)"
            )
        order = torch.randperm(len(inputs), device=inputs.device, generator=generator)
        inputs, targets = inputs[order], targets[order.to(targets.device)]
        plain = fpr.plain_count(len(inputs))
        mixed = torch.cat([inputs[:plain], fpr.mosaics(inputs[plain:])])
        return mixed, fpr.quadrant_classes(targets)

    def unmixed(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if targets.ndim == 1:
            return logits, targets
        plain = fpr.plain_count(len(targets))
        return logits[:plain], targets[:plain, 0]

    def target_shapes(self, batch_size: int) -> list[tuple[int, ...]]:
        shapes = super().target_shapes(batch_size)
        if self.regularization is not None and self.classifier.training:
            shapes.append((batch_size, fpr.SOURCES))
        return shapes

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.regularization is None:
            return super().training_loss(logits, targets)
        if targets.ndim == 1:
            raise RuntimeError(
                "FPR needs the targets that preprocess returns: call `inputs, targets = "
                "criterion.preprocess(inputs, targets)` before each forward pass, or make the "
                "criterion with regularization=None to train without FPR"
            )
        loss = super().training_loss(*self.unmixed(logits, targets))
        plain = fpr.plain_count(len(targets))
        if plain < len(targets):
            # Class 0 stands for the mark of a plain image out of place; the loss is NaN then.
            classes = targets[plain:].masked_fill(targets[plain:] == fpr.NO_CLASS, 0)
            q = fpr.fractional_targets(classes, logits.shape[1], logits.dtype)
            log_p = F.log_softmax(self.entropic_scale * logits[plain:], dim=1)
            loss = 0.5 * loss + 0.5 * self.alpha * F.kl_div(log_p, q, reduction="batchmean")
        # For a part of a batch, or another order, the loss would be wrong. A check on the host
        # would wait for the device at every step.
        return torch.where(fpr.is_whole(targets), loss, math.nan)
