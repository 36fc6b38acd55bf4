"""Class indices as rows of a matrix."""

import torch
from torch import Tensor


def one_hot(targets: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """[B, C] of class indices [B].

    Unlike torch's it does not wait for the device; unlike a comparison it fails for no class.
    """
    return torch.zeros(len(targets), num_classes, dtype=dtype, device=targets.device).scatter_(
        1, targets[:, None].long(), 1.0
    )
