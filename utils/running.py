"""What an epoch in training adds up to: mean loss and accuracy, and whether the loss is still a number."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .distributed import World


@dataclass(frozen=True)
class Summary:
    """An epoch so far: mean loss, and the accuracy on the images that show what their labels say."""

    loss: float
    accuracy: float


NEVER = 2**31  # a step that does not come


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite."""


class RunningSums:
    """An epoch's sums, kept on the device so that no step waits for a value; each process has its own."""

    def __init__(self, device: torch.device):
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.int64)
        self.first_bad = torch.full((), NEVER, device=device, dtype=torch.int64)
        self.images = self.labelled = self.steps = 0

    def add(self, loss: Tensor, images: int, logits: Tensor, targets: Tensor) -> None:
        """A step's loss (a scalar) and number of images; logits and targets of those whose labels say what they show."""
        self.loss += loss * images
        self.correct += (logits.argmax(1) == targets).sum()
        self.steps += 1
        self.first_bad = torch.where(loss.isfinite(), self.first_bad, self.first_bad.clamp(max=self.steps))
        self.images += images
        self.labelled += len(targets)

    def read(self, world: World) -> Summary:
        """Collective; one transfer. Raises NonFiniteLoss in every process, naming the step, if the loss of one is no number."""
        found = torch.stack([self.loss, self.correct, self.first_bad]).tolist()
        loss, correct, images, labelled = world.totals([*found[:2], self.images, self.labelled])
        # The first of all: from there it reaches the others with the gradients.
        if (first_bad := -world.most(-int(found[2]))) < NEVER:
            raise NonFiniteLoss(f"at step {first_bad}")
        return Summary(loss / images, correct / labelled)

    def state_dict(self) -> dict[str, Any]:
        """All of it, on the CPU."""
        return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in vars(self).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises KeyError for what is missing."""
        for name, value in vars(self).items():
            given = state[name]
            setattr(self, name, given.to(value.device) if isinstance(value, Tensor) else given)
