"""Loss and accuracy of an epoch in training, and whether the loss is still finite."""

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
    """The sums of an epoch in one process. They are kept on the device, so no step waits for them.

    Their tensors never move in memory, because a CUDA graph adds to them.
    """

    def __init__(self, device: torch.device):
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.int64)
        # The first step whose loss was not finite.
        self.first_bad = torch.full((), NEVER, device=device, dtype=torch.int64)
        # The number of steps, on the device.
        self.step = torch.zeros(1, device=device, dtype=torch.int64)
        # On the host: the numbers of images, of images that are not mixed, and of steps.
        self.images = self.unmixed = self.steps = 0

    def clear(self) -> None:
        """Start a new epoch."""
        self.loss.zero_()
        self.correct.zero_()
        self.step.zero_()
        self.first_bad.fill_(NEVER)
        self.images = self.unmixed = self.steps = 0

    def add(self, loss: Tensor, images: int, logits: Tensor, targets: Tensor) -> None:
        """Add a step on the device.

        Args:
            loss: the step's mean loss, a scalar.
            images: the step's number of images.
            logits: [N, C], of the images that are not mixed.
            targets: their classes [N].
        """
        self.loss += loss * images
        self.correct += (logits.argmax(1) == targets).sum()
        self.step += 1
        first_bad = torch.minimum(self.first_bad, self.step[0])
        self.first_bad.copy_(torch.where(loss.isfinite(), self.first_bad, first_bad))

    def count(self, images: int, unmixed: int) -> None:
        """Count a step on the host: its images, and those that are not mixed."""
        self.steps += 1
        self.images += images
        self.unmixed += unmixed

    def read(self, world: World) -> Summary:
        """Collective: the sums over all processes, read from the device once.

        Raises NonFiniteLoss in every process, naming the step, if a loss was not finite.
        """
        loss, correct, first_bad = torch.stack([self.loss, self.correct, self.first_bad]).tolist()
        loss, correct, images, unmixed = world.all_sum([loss, correct, self.images, self.unmixed])
        # The first step of any process: the gradients carry it to the others.
        first_bad = -world.all_max(-int(first_bad))
        if first_bad < NEVER:
            raise NonFiniteLoss(f"at step {first_bad}")
        return Summary(loss / images, correct / unmixed)

    def state_dict(self) -> dict[str, Any]:
        """The sums, on the CPU."""
        return {
            "loss": self.loss.cpu(),
            "correct": self.correct.cpu(),
            "first_bad": self.first_bad.cpu(),
            "images": self.images,
            "labelled": self.unmixed,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to sums from `state_dict`. Raises KeyError if one is missing."""
        self.loss.copy_(state["loss"])
        self.correct.copy_(state["correct"])
        self.first_bad.copy_(state["first_bad"])
        self.images = state["images"]
        self.unmixed = state["labelled"]
        self.steps = state["steps"]
        self.step.fill_(self.steps)
