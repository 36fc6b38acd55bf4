"""SoftMax: a linear layer and cross-entropy, with the maximum probability as the score (Hendrycks
& Gimpel 2017).
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from .common import in_one_precision
from .contract import LossFirstPart
from .criterion import LossSecondPart


class SoftMaxLossFirstPart(LossFirstPart):
    """Head with logits f·Wᵀ + b.

    Parameters: `weight` [C, D], initialised as in `nn.Linear`, and `bias` [C], from 0.
    """

    score_type = "MPS"
    is_linear = True
    authors_names: ClassVar = {"weights": "weight"}

    def __init__(self, num_features: int, num_classes: int):
        super().__init__(num_features, num_classes)
        linear = nn.Linear(num_features, num_classes)
        self.weight, self.bias = linear.weight, linear.bias
        nn.init.zeros_(self.bias)

    def start_as_pytorch(self) -> None:
        """Initialise the bias as `nn.Linear` does, uniform in ±1/√D."""
        bound = self.num_features**-0.5
        nn.init.uniform_(self.bias, -bound, bound)

    def raw_logits(self, features: Tensor) -> Tensor:
        return F.linear(*in_one_precision(features, self.weight, self.bias))


class SoftMaxLossSecondPart(LossSecondPart):
    """Cross-entropy of the logits."""
