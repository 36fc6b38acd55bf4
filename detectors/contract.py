"""What a detector is: a score that is computed after training, and fitted only to images that
trained or calibrated the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn


class NotApplicable(ValueError):
    """The detector has no meaning for this network or head."""


@dataclass(frozen=True)
class SetOutputs:
    """A set of images as a trained network sees it."""

    # Named outputs of the head, "logits" [N, C] at temperature 1 first of all; "features" [N, D].
    outputs: Mapping[str, Tensor]
    batches: Callable[[], Iterable[Tensor]]  # the network's inputs [B, 3, H, W], in order
    labels: Tensor | None = None  # class indices [N]; None for out-of-distribution images

    def finite(self) -> Tensor | None:
        """Which images have finite features and a finite largest logit, bool [N]; None if the set
        has neither.
        """
        known = []
        if "logits" in self.outputs:
            known.append(self.outputs["logits"].amax(1).isfinite())
        if "features" in self.outputs:
            known.append(self.outputs["features"].flatten(1).isfinite().all(1))
        return torch.stack(known).all(0) if known else None

    def chosen(self, images: Tensor) -> SetOutputs:
        """The set with these images alone (bool [N])."""

        def batches() -> Iterator[Tensor]:
            start = 0
            for inputs in self.batches():
                own = images[start : start + len(inputs)].to(inputs.device)
                start += len(inputs)
                if own.any():
                    yield inputs[own]

        outputs = {name: output[images] for name, output in self.outputs.items()}
        return SetOutputs(outputs, batches, None if self.labels is None else self.labels[images])


@dataclass(frozen=True)
class FitData:
    """What a detector may be fitted to, all of it in-distribution; None for what the detectors at
    hand do not need.
    """

    # With `forward_features`, `layer_features` and a `classifier`; evaluation mode, temperature 1.
    network: nn.Module | None
    # The classifier in float32 on the CPU: features [N, D] to logits [N, C] at temperature 1.
    head: nn.Module | None
    train: SetOutputs | None  # the training images, not augmented
    # Images that the weights were not fitted to, for choosing a detector's constants.
    deciding: SetOutputs
    # The inputs are (pixel - mean)/std, the pixels in [0, 1]: a number a channel.
    std: Sequence[float]
    mean: Sequence[float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Fitted:
    """A fitted detector: call it with a set for the set's scores.

    An image whose features or largest logit are not finite gets the score NaN. The other images are
    scored without it.
    """

    # Scores [N], float64 on the CPU, higher = more in-distribution.
    score: Callable[[SetOutputs], Tensor]
    # Its constants, given or found, by name, for the record.
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)

    def __call__(self, part: SetOutputs) -> Tensor:
        finite = part.finite()
        if finite is None or finite.all():
            return self.score(part)
        scores = torch.full((len(finite),), torch.nan, dtype=torch.float64)
        if finite.any():
            scores[finite] = self.score(part.chosen(finite))
        return scores


@dataclass(frozen=True)
class Detector:
    """One row of the table of detectors: its title, what it needs, and how it is fitted."""

    title: str
    needs: Literal["logits", "features", "network"]
    fit: Callable[[FitData], Fitted]
    # Why it means nothing with this head, or None.
    refuses: Callable[[nn.Module], str | None] = lambda head: None
