"""The training loop. It knows a model, a criterion that keeps the contract, and batches; it knows no method by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .runtime import autocast, seeds


@dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum whose learning rate falls by `decay` at given fractions of the epochs."""

    learning_rate: float
    momentum: float
    weight_decay: float
    milestones: tuple[tuple[int, int], ...]  # fractions of the epochs, as exact ratios
    decay: float

    def epochs_of_decay(self, epochs: int) -> list[int]:
        """After how many epochs the learning rate falls, rounded up."""
        return [-(-epochs * numerator // denominator) for numerator, denominator in self.milestones]


# The paper's: 0.1 that falls at epochs 150, 200 and 250 of 300.
RECIPES = {"paper": Recipe(0.1, 0.9, 1e-4, ((1, 2), (2, 3), (5, 6)), 0.1)}

Report = Callable[[int, "Summary | None"], None]  # (images done since the last call, the epoch so far where it was read)
READ_EVERY = 50  # steps between two reads of the running sums from the device


@dataclass(frozen=True)
class Summary:
    """An epoch so far: mean loss, and the accuracy on the images that show what their labels say."""

    loss: float
    accuracy: float


class Batches(Protocol):
    """What the loop needs of the training data."""

    batch_size: int

    def epoch(self, generator: torch.Generator): ...


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite."""


class RunningSums:
    """An epoch's sums, kept on the device so that no step waits for a value."""

    def __init__(self, device: torch.device):
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.int64)
        self.first_bad = torch.full((), -1, device=device, dtype=torch.int64)
        self.images = self.labelled = self.steps = 0

    def add(self, loss: Tensor, images: int, logits: Tensor, targets: Tensor) -> None:
        """A step's loss (a scalar) and number of images; logits and targets of those whose labels say what they show."""
        self.loss += loss * images
        self.correct += (logits.argmax(1) == targets).sum()
        self.steps += 1
        self.first_bad = torch.where((self.first_bad < 0) & ~loss.isfinite(), self.steps, self.first_bad)
        self.images += images
        self.labelled += len(targets)

    def read(self) -> Summary:
        """One transfer. Raises NonFiniteLoss, naming the step."""
        loss, correct, first_bad = torch.stack([self.loss, self.correct, self.first_bad]).tolist()
        if first_bad >= 0:
            raise NonFiniteLoss(f"at step {first_bad:.0f}")
        return Summary(loss / self.images, correct / self.labelled)


class Trainer:
    """A model in training, with all the state that a resumed run needs to go on bit for bit.

    Args:
        model: images [B, 3, H, W] to logits [B, C].
        criterion: keeps the contract of `losses.LossSecondPart`.
        batches: the training data.
        recipe: how to train, for `epochs` in all.
        seed: the run's; shuffling, augmentation and the criterion's mixing draw from generators of their own.
        precision: of the forward pass: fp32, bf16 or fp16.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Any,
        batches: Batches,
        recipe: Recipe,
        epochs: int,
        seed: int,
        precision: str,
    ):
        self.model, self.criterion, self.batches = model, criterion, batches
        self.device = next(model.parameters()).device
        self.context = autocast(self.device, precision)
        # Fused: the device itself skips a step whose scaled gradients overflowed, else the host would have to ask it at every step.
        groups = criterion.parameter_groups(model, recipe.weight_decay)
        self.optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True, fused=True)
        # As the first step itself would begin; but one that is skipped leaves a fused optimizer's own buffers uninitialised.
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        milestones = recipe.epochs_of_decay(epochs)
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, milestones, recipe.decay)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        seed_batches, seed_mixing = seeds(seed, 2)
        self.drawing = torch.Generator().manual_seed(seed_batches)
        self.mixing = torch.Generator(self.device).manual_seed(seed_mixing)
        self.epoch = 0  # epochs done

    @property
    def learning_rate(self) -> float:
        """Of the coming epoch."""
        return self.scheduler.get_last_lr()[0]

    def run_epoch(self, report: Report) -> Summary:
        """Train for one epoch. Raises NonFiniteLoss, naming epoch, step and learning rate."""
        self.model.train()
        sums = RunningSums(self.device)
        self.criterion.before_epoch(self.epoch + 1)
        try:
            for inputs, targets in self.batches.epoch(self.drawing):
                self._step(inputs, targets, sums)
                report(len(targets), sums.read() if sums.steps % READ_EVERY == 0 else None)
            summary = sums.read()
        except NonFiniteLoss as error:
            raise NonFiniteLoss(
                f"the loss became NaN or infinite in epoch {self.epoch + 1} {error} (learning rate {self.learning_rate:g})"
            ) from None
        self.criterion.after_epoch(self.epoch + 1)
        self.scheduler.step()
        self.epoch += 1
        report(0, summary)
        return summary

    def _step(self, inputs: Tensor, targets: Tensor, sums: RunningSums) -> None:
        tail = len(targets) < self.batches.batch_size
        inputs, targets = self.criterion.preprocess(inputs, targets, generator=self.mixing, tail=tail)
        inputs.requires_grad_(self.criterion.penalizes_inputs)
        with self.context:
            logits = self.model(inputs)
            loss = self.criterion(logits, targets) + self.criterion.penalty(inputs, logits)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        logits, loss = logits.detach(), loss.detach()
        with self.context:
            self.criterion.after_step(self.model, inputs.detach(), targets, logits)
        sums.add(loss, len(targets), *self.criterion.labelled(logits, targets))

    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on as if nothing had happened, between two epochs."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "drawing": self.drawing.get_state(),
            "mixing": self.mixing.get_state(),
            "global": torch.get_rng_state(),
            "global_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises ValueError, among others, for what does not fit."""
        for name in ("model", "criterion", "optimizer", "scheduler", "scaler"):
            getattr(self, name).load_state_dict(state[name])
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                buffer = self.optimizer.state[parameter].get("momentum_buffer")
                if buffer is None or buffer.shape != parameter.shape:  # a fused step would read beyond it
                    raise ValueError("the optimizer's momentum is not that of these parameters")
        self.drawing.set_state(state["drawing"])
        self.mixing.set_state(state["mixing"])
        torch.set_rng_state(state["global"])
        if state["global_cuda"]:
            torch.cuda.set_rng_state_all(state["global_cuda"])
        self.epoch = state["epoch"]
