"""A plugin for `detect.py` with the two parts of DisMax's distances as scores.

A logit of DisMax is -(d_j + mean d). So the mean logit is -2·mean d, and the largest logit is
-(min d + mean d).
"""

from torch import Tensor, nn

from detectors import DETECTORS, Detector, FitData, Fitted, SetOutputs
from losses import DisMaxLossFirstPart


def mean_distance(images: SetOutputs) -> Tensor:
    """Return -(mean distance to the prototypes) [N]."""
    return images.outputs["logits"].double().mean(1) / 2


def smallest_distance(images: SetOutputs) -> Tensor:
    """Return -(distance to the nearest prototype) [N]."""
    return images.outputs["logits"].double().amax(1) - mean_distance(images)


def fit_mean_distance(data: FitData) -> Fitted:
    return Fitted(mean_distance)


def fit_smallest_distance(data: FitData) -> Fitted:
    return Fitted(smallest_distance)


def needs_dismax(head: nn.Module) -> str | None:
    """Return why the scores have no meaning for a head; None if they have."""
    return None if isinstance(head, DisMaxLossFirstPart) else "needs the logits of DisMax"


DETECTORS["mean_distance"] = Detector(
    "Mean distance", "logits", fit_mean_distance, refuses=needs_dismax
)
DETECTORS["smallest_distance"] = Detector(
    "Smallest distance", "logits", fit_smallest_distance, refuses=needs_dismax
)
