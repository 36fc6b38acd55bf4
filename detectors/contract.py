"""What a detector is: a score that is computed after training.

It is fitted only to images that trained or calibrated the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class NotApplicable(ValueError):
    """The detector does not apply to this network or head."""


class FeatureNetwork(Protocol):
    """What detectors use of a network, such as `models.Network`."""

    classifier: Any

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def forward_features(self, images: Tensor, /) -> Tensor: ...

    def layer_features(self, images: Tensor, /) -> list[Tensor]: ...


def no_images() -> NoReturn:
    """Stand for the images of a set for which only outputs were kept. Raises RuntimeError."""
    raise RuntimeError("a detector of logits or features asked for images")


@dataclass(frozen=True)
class SetOutputs:
    """A trained network's outputs for a set of images."""

    # Named outputs of the head, with "logits" [N, C] at temperature 1; and "features" [N, D].
    outputs: Mapping[str, Tensor]
    # The network's inputs [B, 3, H, W], in order.
    batches: Callable[[], Iterable[Tensor]] = no_images
    labels: Tensor | None = None  # class indices [N]; None for out-of-distribution images

    def finite(self) -> Tensor | None:
        """Return which images have finite features and a finite largest logit, bool [N].

        Return None if the set has neither features nor logits.
        """
        checks = []
        if "logits" in self.outputs:
            checks.append(self.outputs["logits"].amax(1).isfinite())
        if "features" in self.outputs:
            checks.append(self.outputs["features"].flatten(1).isfinite().all(1))
        return torch.stack(checks).all(0) if checks else None

    def select(self, mask: Tensor) -> SetOutputs:
        """Return the set with only the images of the mask (bool [N])."""

        def batches() -> Iterator[Tensor]:
            start = 0
            for inputs in self.batches():
                batch_mask = mask[start : start + len(inputs)].to(inputs.device)
                start += len(inputs)
                if batch_mask.any():
                    yield inputs[batch_mask]

        outputs = {name: output[mask] for name, output in self.outputs.items()}
        return SetOutputs(outputs, batches, None if self.labels is None else self.labels[mask])


@dataclass(frozen=True)
class FitData:
    """In-distribution data that a detector may be fitted to.

    The network, head and training images are None if no detector of the caller needs them.
    """

    network: FeatureNetwork | None  # in evaluation mode at temperature 1
    # The classifier in float32 on the CPU, a head of `losses` at temperature 1: features [N, D] to
    # logits [N, C].
    head: nn.Module | None
    train: SetOutputs | None  # the training images, not augmented
    # The calibration split: images that the weights were not fitted to. A detector chooses its
    # constants on it.
    calibration: SetOutputs
    # The inputs are (pixel - mean)/std for pixels in [0, 1], with one number for each channel.
    std: Sequence[float]
    mean: Sequence[float] = (0.0, 0.0, 0.0)


def required(value: T | None, name: str) -> T:
    """Return a value that the detector needs. Raises NotApplicable if it is None."""
    if value is None:
        raise NotApplicable(f"this detector needs {name}")
    return value


class Score(nn.Module):
    """A fitted score that is computed from a network's outputs. It can be saved and exported.

    A subclass passes all its arguments to this constructor, by name: tensors, which become buffers,
    numbers and other scores. `saved.pack` can then write it.

    A file names a score by its class. So a subclass with the name of another module's raises
    TypeError.
    """

    kinds: ClassVar[dict[str, type[Score]]] = {}  # name of a class → the class

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        known = Score.kinds.get(cls.__name__, cls).__module__
        if known != cls.__module__:
            raise TypeError(f"{known} has a score {cls.__name__} too: rename one of the two")
        Score.kinds[cls.__name__] = cls

    def __init__(self, **values: Tensor | float | Score):
        super().__init__()
        self.names = tuple(values)
        for name, value in values.items():
            if isinstance(value, Tensor):
                # `to` and `double` convert it. It is contiguous, as a file gives it back: else sums
                # would round in another way.
                self.register_buffer(name, value.contiguous())
            else:
                setattr(self, name, value)

    def forward(self, outputs: Mapping[str, Tensor], head: Any) -> Tensor:
        """Return scores [B]. A higher score is more in-distribution.

        Args:
            outputs: "features" [B, D] and the head's named outputs, of which "logits" [B, C] are at
                temperature 1.
            head: the classifier, a head of `losses`. Its temperature does not matter.
        """
        raise NotImplementedError

    def held_out_scores(self) -> Tensor | None:
        """Return the scores [n] of the held-out images that it compares with, in their order.

        They are for thresholds: each image is scored as if it were a new one. `forward` would
        compare it with itself too. None for a score that compares with no held-out images.
        """
        return None


@dataclass(frozen=True)
class Fitted:
    """A fitted detector. Call it with a set to get the scores [N] of its images.

    An image whose features or largest logit are not finite gets the score NaN. The other images are
    scored without it.
    """

    # Returns scores [N], float64 on the CPU. A higher score is more in-distribution.
    score: Callable[[SetOutputs], Tensor]
    # Its constants by name, whether fixed or fitted, for the record.
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    # The same score for deployment; None if the detector needs more than a network's outputs.
    deployable: Score | None = None

    def __call__(self, images: SetOutputs) -> Tensor:
        finite = images.finite()
        if finite is None or finite.all():
            return self.score(images)
        scores = torch.full((len(finite),), torch.nan, dtype=torch.float64)
        if finite.any():
            scores[finite] = self.score(images.select(finite))
        return scores


def no_objection(head: nn.Module) -> None:
    """Say that a detector applies to every head."""


@dataclass(frozen=True)
class Detector:
    """A row of the table of detectors: its title, what it needs, and how to fit it."""

    title: str
    needs: Literal["logits", "features", "network"]
    fit: Callable[[FitData], Fitted]
    # Returns the reason why the detector does not apply to this head, or None.
    refuses: Callable[[nn.Module], str | None] = no_objection
    # Constants that are arguments of `fit` and options of detect.py.
    options: tuple[Literal["epsilon", "temperature"], ...] = ()

    @property
    def all_needs(self) -> set[str]:
        """What a run has to give: `needs`, and the "head" if the detector may refuse it."""
        return {self.needs} if self.refuses is no_objection else {self.needs, "head"}
