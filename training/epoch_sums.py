"""What an epoch in training adds up to: mean loss and accuracy, and whether the loss is still a
number.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from utils.distributed import World
from utils.program import Failure


@dataclass(frozen=True)
class Summary:
    """An epoch so far: mean loss, and accuracy on the images that are not mixed."""

    loss: float
    accuracy: float


NEVER = 2**31  # stands for a step that no epoch has


class NonFiniteLoss(Failure):
    """The loss became NaN or infinite."""


class EpochSums:
    """An epoch's sums, kept on the device so that no step waits for a value; each process has its
    own.

    Their tensors stay where they are in memory, so that a CUDA graph can go on adding to them.
    """

    def __init__(self, device: torch.device):
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.int64)
        self.first_bad = torch.full((), NEVER, device=device, dtype=torch.int64)
        # `steps`, as the device counts them.
        self.step = torch.zeros(1, device=device, dtype=torch.int64)
        self.images = self.labelled = self.steps = 0

    def clear(self) -> None:
        """Begin a new epoch."""
        for value in (self.loss, self.correct, self.step):
            value.zero_()
        self.first_bad.fill_(NEVER)
        self.images = self.labelled = self.steps = 0

    def add(self, loss: Tensor, images: int, logits: Tensor, targets: Tensor) -> None:
        """On the device: a step's loss (a scalar) and number of images; the logits and targets of
        the images that are not mixed.
        """
        self.loss += loss * images
        self.correct += (logits.argmax(1) == targets).sum()
        self.step += 1
        self.first_bad.copy_(
            torch.where(
                loss.isfinite(), self.first_bad, torch.minimum(self.first_bad, self.step[0])
            )
        )

    def count(self, images: int, labelled: int) -> None:
        """On the host: a step's number of images, and how many of them are not mixed."""
        self.steps += 1
        self.images += images
        self.labelled += labelled

    def read(self, world: World) -> Summary:
        """Collective; one transfer.

        Raises NonFiniteLoss in every process, naming the step, if the loss of one is no number.
        """
        found = torch.stack([self.loss, self.correct, self.first_bad]).tolist()
        loss, correct, images, labelled = world.all_sum([*found[:2], self.images, self.labelled])
        # The first of all: from there it reaches the others with the gradients.
        if (first_bad := -world.all_max(-int(found[2]))) < NEVER:
            raise NonFiniteLoss(f"at step {first_bad}")
        return Summary(loss / images, correct / labelled)

    def state_dict(self) -> dict[str, Any]:
        """All of it, on the CPU."""
        held = {name: value for name, value in vars(self).items() if name != "step"}
        return {
            name: value.cpu() if isinstance(value, Tensor) else value
            for name, value in held.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises KeyError for what is missing."""
        for name in ("loss", "correct", "first_bad"):
            getattr(self, name).copy_(state[name])
        self.images, self.labelled, self.steps = state["images"], state["labelled"], state["steps"]
        self.step.fill_(self.steps)
