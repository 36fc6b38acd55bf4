"""How to train: the optimizer, and the learning rate of each step. No torch here."""

import math
from dataclasses import dataclass
from typing import Any, Literal

MOMENTUM = 0.9  # of SGD
ELSEWHERE = "elsewhere"  # the recipe of a model that another program trained


@dataclass(frozen=True)
class Recipe:
    """How to train. The batch size and the epochs are defaults of the command line."""

    learning_rate: float  # of the first step, or of the first step after the warm-up
    weight_decay: float
    # Fractions of the epochs after which the rate falls by `decay`. Without milestones, the rate
    # follows half a cosine to 0.
    milestones: tuple[tuple[int, int], ...] = ()
    decay: float = 0.1
    batch_size: int = 64
    epochs: int | None = None  # None: the data set's own
    optimizer: Literal["sgd", "adamw"] = "sgd"
    warmup: float = 0.0  # the share of the training in which the rate rises from 0
    body_scale: float = 1.0  # the body's learning rate, as a multiple of the head's
    # How a new network's weights are drawn: see `models.initialise`.
    start: Literal["paper", "pytorch"] = "paper"

    def epochs_of_decay(self, epochs: int) -> list[int]:
        """The numbers of epochs after which the learning rate falls, rounded up."""
        return [-(-epochs * numerator // denominator) for numerator, denominator in self.milestones]

    def rate(self, done: float, epochs: int) -> float:
        """The learning rate after `done` of `epochs` epochs. `done` may be a fraction.

        Without milestones it is the recipe's rate times ½(1 + cos πt), where t is the share of the
        training that is done (arXiv 1608.03983). A warm-up comes first, in which the rate rises
        linearly; t then counts from its end.
        """
        warm = self.warmup * epochs
        if done < warm:
            # The first step has a small rate, not 0, with which it would change nothing.
            return self.learning_rate * max(done / warm, 0.01)
        if not self.milestones:
            share = (done - warm) / (epochs - warm)
            return self.learning_rate * (1 + math.cos(math.pi * share)) / 2
        falls = sum(done >= epoch for epoch in self.epochs_of_decay(epochs))
        return self.learning_rate * self.decay**falls

    def as_record(self, epochs: int) -> dict[str, Any]:
        """The recipe as JSON values, for the record of a run of that many epochs."""
        names = ("learning_rate", "weight_decay", "start", "optimizer", "warmup", "body_scale")
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.optimizer == "sgd":
            values["momentum"] = MOMENTUM
        if not self.milestones:
            return values | {"schedule": "cosine to 0, a step at a time"}
        return values | {
            "milestones": self.milestones,
            "decay": self.decay,
            "decay_after": self.epochs_of_decay(epochs),
        }


RECIPES = {
    # The DisMax paper's: 0.1 that falls at epochs 150, 200 and 250 of 300.
    "paper": Recipe(0.1, 1e-4, ((1, 2), (2, 3), (5, 6))),
    # torchvision's for ImageNet, with Nesterov momentum: 0.1 that falls at epochs 30 and 60 of 90.
    "imagenet": Recipe(0.1, 1e-4, ((1, 3), (2, 3)), batch_size=256, epochs=90),
    # OpenOOD v1.5's for CIFAR-10 and CIFAR-100 (arXiv 2306.09301).
    "openood": Recipe(0.1, 5e-4, batch_size=128, epochs=100, start="pytorch"),
    # For weights that were trained before. The new head needs the large rate: with a tenth of it,
    # the prototypes of a distance head hardly move in so few steps.
    "finetune": Recipe(
        0.1, 1e-4, batch_size=32, epochs=20, start="pytorch", warmup=0.1, body_scale=0.1
    ),
    "finetune_adamw": Recipe(
        0.001,
        0.05,
        batch_size=32,
        epochs=20,
        start="pytorch",
        optimizer="adamw",
        warmup=0.1,
        body_scale=0.1,
    ),
}
