"""What several detectors share: precision, features, energies, and the check for a linear head."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from .contract import SetOutputs

ROWS = 1024  # features in one call of a head: some heads compute [rows, C, D] numbers for them


def float64(tensor: Tensor) -> Tensor:
    """Return the same values in float64 on the CPU, so that fewer scores tie."""
    # First to the CPU, since Apple's GPUs have no float64.
    return tensor.detach().cpu().double()


def wide(tensor: Tensor) -> Tensor:
    """Return the same values on their device in float64, or in float32 on Apple's GPUs.

    Gradients pass through.
    """
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def features_of(images: SetOutputs) -> Tensor:
    """Return the set's features [N, D] in float64. Raises ValueError if some are not finite."""
    features = float64(images.outputs["features"])
    if not features.isfinite().all():
        raise ValueError("a detector got features that are not all finite")
    return features


@torch.no_grad()
def energies(head: nn.Module, features: Tensor) -> Tensor:
    """Return the energy scores logsumexp ℓ [N] in float64, for the head's logits ℓ of features
    [N, D].
    """
    head = deepcopy(head).double()  # a copy, since `double` changes a module in place
    return torch.cat([head(rows).logsumexp(1) for rows in features.split(ROWS)])


def needs_linear_head(head: nn.Module) -> str | None:
    """Return why a head that is not linear is refused; None for a linear head.

    A virtual logit, or larger features, have no meaning for the logits of other heads.
    """
    is_linear = getattr(head, "is_linear", isinstance(head, nn.Linear))
    return None if is_linear else "needs a linear head"
