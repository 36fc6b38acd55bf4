"""IsoMax, the isotropy maximization loss (Macêdo et al. 2021, arXiv 1908.05569)."""

import torch
from torch import Tensor, nn

from .contract import LossFirstPart
from .criterion import LossSecondPart
from .geometry import distances


class IsoMaxLossFirstPart(LossFirstPart):
    """Head with logits -‖f - p_j‖. The `prototypes` p [C, D] start at zero."""

    score_type = "ES"

    def __init__(self, num_features: int, num_classes: int):
        super().__init__(num_features, num_classes)
        self.prototypes = nn.Parameter(torch.zeros(num_classes, num_features))

    def raw_logits(self, features: Tensor) -> Tensor:
        return -distances(features, self.prototypes)


class IsoMaxLossSecondPart(LossSecondPart):
    """Cross-entropy of E times the logits in training, E = 10, and of the logits in evaluation
    mode.
    """

    entropic_scale = 10.0
