"""What several detectors share: precision, features, the head, and the heads a score has no meaning
with.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from .contract import SetOutputs

ROWS = 1024  # of features at once through a head: some make [rows, C, D] of them


def float64(tensor: Tensor) -> Tensor:
    """The same values in float64 on the CPU, so that fewer scores tie. (The CPU first: Apple's GPUs
    have no float64.)
    """
    return tensor.detach().cpu().double()


def wide(tensor: Tensor) -> Tensor:
    """The same values on their device in float64, or float32 on Apple's GPUs; gradients pass."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def features_of(part: SetOutputs) -> Tensor:
    """The set's features [N, D] in float64. Raises ValueError if they are not all finite."""
    features = float64(part.outputs["features"])
    if not features.isfinite().all():
        raise ValueError("a detector got features that are not all finite")
    return features


@torch.no_grad()
def energies(head: nn.Module, features: Tensor) -> Tensor:
    """The energy score logsumexp ℓ [N] of the logits ℓ that the head gives features [N, D], in
    float64.
    """
    head = deepcopy(head).double()  # a copy, since `double` changes a module in place
    return torch.cat([head(rows).logsumexp(1) for rows in features.split(ROWS)])


def needs_linear_head(head: nn.Module) -> str | None:
    """Why a head that is not linear is refused: of others' logits a virtual logit, or features made
    larger, say nothing.
    """
    return (
        None if getattr(head, "is_linear", isinstance(head, nn.Linear)) else "needs a linear head"
    )
