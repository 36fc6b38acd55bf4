"""Scaled Cosine (Techapanurak, Suganuma & Okatani 2019, arXiv 1905.10628)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from .contract import LossFirstPart
from .criterion import LossSecondPart
from .directions import cosines
from .predicted_scale import PredictedScale


class ScaledCosineLossFirstPart(LossFirstPart):
    """Head with logits s·cos(f, w_j).

    The scale s = exp(BN(v·f + b)) > 0 is predicted from the features.

    Named outputs: `logits`, `cosines` [B, C]. Its score is the largest cosine, without the scale.

    Parameters: `weight` w [C, D], initialised as in `nn.Linear`; `scale`, the scale's linear map
    and batch norm.
    """

    score_type = "max cosine"
    own_scores: ClassVar = {"max cosine": lambda outputs: outputs["cosines"].amax(-1)}

    def __init__(self, num_features: int, num_classes: int):
        super().__init__(num_features, num_classes)
        self.weight = nn.Parameter(nn.Linear(num_features, num_classes, bias=False).weight)
        self.scale = PredictedScale(num_features)

    def raw_outputs(self, features: Tensor) -> dict[str, Tensor]:
        cosine = cosines(features, self.weight)
        return {"logits": torch.exp(self.scale(features)) * cosine, "cosines": cosine}


class ScaledCosineLossSecondPart(LossSecondPart[ScaledCosineLossFirstPart]):
    """Cross-entropy of the logits. The class weights are trained without weight decay."""

    def no_decay_parameters(self) -> list[nn.Parameter]:
        return [self.classifier.weight]
