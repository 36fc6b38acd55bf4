"""A number that a head predicts from the features.

Scaled Cosine's scale is its exponential, and GODIN's divisor is its sigmoid.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import in_backward

# Its exponential is 1e13. Times squared distances of up to 1e25, this stays finite in float32.
LARGEST = 30.0


class PredictedScale(nn.Module):
    """z [B, 1]: a batch-normalised linear map of features [B, D], clamped to [-30, 30].

    A batch of one image has no statistics of its own, so it uses the running ones.
    """

    def __init__(self, num_features: int):
        super().__init__()
        self.linear = nn.Linear(num_features, 1)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, features: Tensor) -> Tensor:
        dtype = self.linear.weight.dtype
        norm = self.norm
        values = self.linear(features.to(dtype))
        if self.training and len(values) < 2:
            values = F.batch_norm(
                values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        elif self.training and in_backward():
            # The running statistics already contain this batch, so update copies of them.
            mean = cast(Tensor, norm.running_mean).clone()
            var = cast(Tensor, norm.running_var).clone()
            values = F.batch_norm(
                values, mean, var, norm.weight, norm.bias, training=True, eps=norm.eps
            )
        else:
            values = norm(values)
        return values.clamp(-LARGEST, LARGEST).to(torch.promote_types(features.dtype, dtype))
