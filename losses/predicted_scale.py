"""A number that a head predicts from the features: Scaled Cosine's scale is its exponential,
GODIN's divisor its sigmoid.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .transforms import in_backward

# Its exponential, 1e13, times squared distances of up to 1e25 stays finite in float32.
LARGEST = 30.0


class PredictedScale(nn.Module):
    """z [B, 1]: a batch-normalised linear map of features [B, D], clamped to [-30, 30].

    A batch of one image, which has no statistics, is normalised by the running ones.
    """

    def __init__(self, num_features: int):
        super().__init__()
        self.linear = nn.Linear(num_features, 1)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, features: Tensor) -> Tensor:
        own = self.linear.weight.dtype
        values, norm = self.linear(features.to(own)), self.norm
        if self.training and len(values) < 2:
            values = F.batch_norm(
                values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        elif (
            self.training and in_backward()
        ):  # the running statistics have seen this batch: copies take it
            copies = cast(Tensor, norm.running_mean).clone(), cast(Tensor, norm.running_var).clone()
            values = F.batch_norm(
                values, *copies, norm.weight, norm.bias, training=True, eps=norm.eps
            )
        else:
            values = norm(values)
        return values.clamp(-LARGEST, LARGEST).to(torch.promote_types(features.dtype, own))
