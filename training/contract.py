"""What the training loop needs of the training data. `data.batches.TrainingBatches` provides it."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor


class Plan(Protocol):
    """The random choices of an epoch, made before its first step."""

    rows: Tensor  # int64 [steps, ...], on the device


EpochPlan = TypeVar("EpochPlan", bound=Plan)


class Batches(Protocol[EpochPlan]):
    """The batches of an epoch."""

    batch_size: int
    sizes: list[int]  # images of each step, over all processes
    shares: list[int]  # images of each step in this process

    def draw(self, generator: torch.Generator) -> EpochPlan:
        """An epoch's plan, drawn from a CPU generator."""
        ...

    def decoded(self, plan: EpochPlan, start: int = 0) -> Iterator[Tensor | None]:
        """The images that the host reads for each step, from step `start` (from 0) on.

        None for each step if all images are on the device.
        """
        ...

    def batch(self, row: Tensor, pixels: Tensor | None) -> tuple[Tensor, Tensor]:
        """A step's inputs and targets.

        Args:
            row: the step's row of the plan, without padding.
            pixels: the images that the host read for this step.
        """
        ...
