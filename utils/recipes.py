"""How to train: SGD with Nesterov momentum, and a learning rate that is a function of the epochs done. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Any, Protocol


class Schedule(Protocol):
    """What the learning rate is multiplied with as training goes on."""

    def __call__(self, done: float, epochs: int) -> float:
        """The factor after `done` of `epochs` epochs, fractions of one included."""
        ...

    def described(self, epochs: int) -> dict[str, Any]:
        """The schedule as JSON values, for the record of a run of so many epochs."""
        ...


@dataclass(frozen=True)
class Steps:
    """Falls by `decay` at given fractions of the epochs, rounded up to whole ones."""

    milestones: tuple[tuple[int, int], ...]  # fractions, as exact ratios
    decay: float

    def epochs_of_decay(self, epochs: int) -> list[int]:
        """After how many epochs it falls."""
        return [-(-epochs * numerator // denominator) for numerator, denominator in self.milestones]

    def __call__(self, done: float, epochs: int) -> float:
        return self.decay ** sum(done >= epoch for epoch in self.epochs_of_decay(epochs))

    def described(self, epochs: int) -> dict[str, Any]:
        return vars(self) | {"decay_after": self.epochs_of_decay(epochs)}


@dataclass(frozen=True)
class Cosine:
    """½(1 + cos πt), t the share of the training that is done: half a cosine, from 1 to 0 (arXiv 1608.03983)."""

    def __call__(self, done: float, epochs: int) -> float:
        return (1 + math.cos(math.pi * done / epochs)) / 2

    def described(self, epochs: int) -> dict[str, Any]:
        return {"schedule": "cosine to 0, a step at a time"}


@dataclass(frozen=True)
class Recipe:
    """How to train, and what that means for what the command line leaves open; None: as the data set has it."""

    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: Schedule
    batch_size: int = 64
    epochs: int | None = None
    model: str | None = None

    def rate(self, done: float, epochs: int) -> float:
        """The learning rate after `done` of `epochs` epochs, fractions of one included."""
        return self.learning_rate * self.schedule(done, epochs)

    def described(self, epochs: int) -> dict[str, Any]:
        """The recipe as JSON values, for the record of a run of so many epochs."""
        plain = {name: getattr(self, name) for name in ("learning_rate", "momentum", "weight_decay")}
        return plain | self.schedule.described(epochs)


RECIPES = {
    # The DisMax paper's: 0.1 that falls at epochs 150, 200 and 250 of 300.
    "paper": Recipe(0.1, 0.9, 1e-4, Steps(((1, 2), (2, 3), (5, 6)), 0.1)),
    # torchvision's for ImageNet, with Nesterov momentum: 0.1 that falls at epochs 30 and 60 of 90.
    "imagenet": Recipe(0.1, 0.9, 1e-4, Steps(((1, 3), (2, 3)), 0.1), batch_size=256, epochs=90),
    # OpenOOD v1.5's for CIFAR-10 and CIFAR-100 (arXiv 2306.09301).
    "openood": Recipe(0.1, 0.9, 5e-4, Cosine(), batch_size=128, epochs=100, model="resnet18"),
}
