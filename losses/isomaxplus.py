"""IsoMax+, the enhanced isotropy maximization loss (Macêdo & Ludermir 2022, arXiv 2105.14399)."""

import torch
from torch import Tensor, nn

from .contract import LossFirstPart
from .directions import direction_logits
from .isomax import IsoMaxLossSecondPart


class IsoMaxPlusLossFirstPart(LossFirstPart):
    """Head with logits -|s|·‖f̂ - p̂_j‖: distances between directions.

    Parameters: `prototypes` p [C, D], from N(0, 1); `distance_scale` s [1], from 1.
    """

    score_type = "MDS"

    def __init__(self, num_features: int, num_classes: int):
        super().__init__(num_features, num_classes)
        self.prototypes = nn.Parameter(torch.randn(num_classes, num_features))
        self.distance_scale = nn.Parameter(torch.ones(1))

    def raw_logits(self, features: Tensor) -> Tensor:
        return direction_logits(
            features, self.prototypes, self.distance_scale, factor=-1, add_mean=False
        )


class IsoMaxPlusLossSecondPart(IsoMaxLossSecondPart):
    """IsoMax's criterion.

    It is cross-entropy of 10 times the logits in training, and of the logits in evaluation mode.
    """
