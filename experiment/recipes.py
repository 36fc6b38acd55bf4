"""How to train: SGD with Nesterov momentum, and a learning rate that is a function of the epochs
done. Imports no torch.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """How to train, and what that means for what the command line leaves open; None: as the data
    set has it.
    """

    learning_rate: float  # at first
    momentum: float
    weight_decay: float
    # Fractions of the epochs, as exact ratios, after which the rate falls by `decay`; without any
    # it follows half a cosine to 0.
    milestones: tuple[tuple[int, int], ...] = ()
    decay: float = 0.1
    batch_size: int = 64
    epochs: int | None = None
    # How a new network's weights are drawn, as `models.Network` has it.
    start: Literal["paper", "pytorch"] = "paper"

    def epochs_of_decay(self, epochs: int) -> list[int]:
        """After how many epochs the learning rate falls, rounded up."""
        return [-(-epochs * numerator // denominator) for numerator, denominator in self.milestones]

    def rate(self, done: float, epochs: int) -> float:
        """The learning rate after `done` of `epochs` epochs, fractions of one included.

        Without milestones it is ½(1 + cos πt) of the first, t the share of the training that is
        done (arXiv 1608.03983).
        """
        if not self.milestones:
            return self.learning_rate * (1 + math.cos(math.pi * done / epochs)) / 2
        return self.learning_rate * self.decay ** sum(
            done >= epoch for epoch in self.epochs_of_decay(epochs)
        )

    def as_record(self, epochs: int) -> dict[str, Any]:
        """The recipe as JSON values, for the record of a run of so many epochs."""
        said: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("learning_rate", "momentum", "weight_decay", "start")
        }
        if not self.milestones:
            return said | {"schedule": "cosine to 0, a step at a time"}
        return said | {
            "milestones": self.milestones,
            "decay": self.decay,
            "decay_after": self.epochs_of_decay(epochs),
        }


RECIPES = {
    # The DisMax paper's: 0.1 that falls at epochs 150, 200 and 250 of 300.
    "paper": Recipe(0.1, 0.9, 1e-4, ((1, 2), (2, 3), (5, 6))),
    # torchvision's for ImageNet, with Nesterov momentum: 0.1 that falls at epochs 30 and 60 of 90.
    "imagenet": Recipe(0.1, 0.9, 1e-4, ((1, 3), (2, 3)), batch_size=256, epochs=90),
    # OpenOOD v1.5's for CIFAR-10 and CIFAR-100 (arXiv 2306.09301).
    "openood": Recipe(0.1, 0.9, 5e-4, batch_size=128, epochs=100, start="pytorch"),
}
