"""What several detectors share: precision, features, deployable scores, and the check for a linear
head.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from .contract import FitData, Fitted, Score, SetOutputs

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


def deployable(
    score: Score, data: FitData, parameters: Mapping[str, float | int | str] | None = None
) -> Fitted:
    """Return the detector with this score, computed in float64 on the CPU."""
    score = score.double()
    # A copy, since `double` changes a module in place. A score of logits gets no head.
    head = deepcopy(data.head).double() if data.head is not None else nn.Identity()

    @torch.no_grad()
    def scores(images: SetOutputs) -> Tensor:
        count = len(next(iter(images.outputs.values())))
        parts = []
        for start in range(0, max(count, 1), ROWS):
            rows = slice(start, start + ROWS)
            # Piece by piece, since all outputs in float64 may not fit into memory.
            outputs = {name: float64(output[rows]) for name, output in images.outputs.items()}
            parts.append(score(outputs, head))
        return torch.cat(parts)

    return Fitted(scores, parameters or {}, score)


def needs_linear_head(head: nn.Module) -> str | None:
    """Return why a head that is not linear is refused; None for a linear head.

    A virtual logit, or larger features, have no meaning for the logits of other heads.
    """
    is_linear = getattr(head, "is_linear", isinstance(head, nn.Linear))
    return None if is_linear else "needs a linear head"
