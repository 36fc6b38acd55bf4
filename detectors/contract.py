"""What a detector is: a score computed after training, fitted to nothing but what the network was trained and calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn


class NotApplicable(ValueError):
    """A detector has no meaning for what it is to be fitted to."""


@dataclass(frozen=True)
class Part:
    """A set of images as a trained network sees it."""

    outputs: Mapping[str, Tensor]  # named outputs of the head, "logits" [N, C] at temperature 1 first of all; "features" [N, D]
    batches: Callable[[], Iterable[Tensor]]  # the network's inputs [B, 3, H, W], in order
    labels: Tensor | None = None  # class indices [N]; None for out-of-distribution images


@dataclass(frozen=True)
class Known:
    """What a detector may be fitted to, all of it in-distribution; None for what the detectors at hand do not need."""

    network: nn.Module | None  # with `forward_features`, `layer_features` and a `classifier`; evaluation mode, temperature 1
    head: nn.Module | None  # the classifier in float32 on the CPU: features [N, D] to logits [N, C] at temperature 1
    train: Part | None  # the training images, not augmented
    deciding: Part  # images that the weights were not fitted to, for choosing a detector's constants
    # The inputs are (pixel - mean)/std, the pixels in [0, 1]: a number a channel.
    std: Sequence[float]
    mean: Sequence[float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Fitted:
    """A fitted detector: call it with a set for the set's scores."""

    score: Callable[[Part], Tensor]  # scores [N], float64 on the CPU, higher = more in-distribution
    # Its constants, given or found, by name, for the record.
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)

    def __call__(self, part: Part) -> Tensor:
        return self.score(part)


@dataclass(frozen=True)
class Detector:
    """One row of the table: the name results go by, what it needs, and how it is fitted."""

    title: str
    needs: Literal["logits", "features", "network"]
    fit: Callable[[Known], Fitted]
    refuses: Callable[[nn.Module], str | None] = lambda head: None  # why a head makes the score meaningless, if it does
