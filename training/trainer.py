"""The training loop.

It knows a model, a criterion and batches. It knows no loss and no data set by name.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from data.batches import TrainingBatches
from experiment.recipes import Recipe
from models import Network
from utils.distributed import ALONE, World
from utils.runtime import autocast, seeds

from . import state
from .epoch_sums import EpochSums, NonFiniteLoss, Summary
from .optimizer import make_optimizer

# Called after each step with its number of images, and with the epoch so far if it was read.
Report = Callable[[int, Summary | None], None]
READ_EVERY = 50  # steps between two reads of the running sums from the device


class Trainer:
    """A model in training, with all the state that a resumed run needs.

    A run can stop after any step. The resumed run computes the same numbers, bit for bit.

    Args:
        model: images [B, 3, H, W] to logits [B, C].
        criterion: the second part of a loss (`losses.LossSecondPart`).
        batches: the training data.
        recipe: how to train.
        epochs: the number of epochs of the whole training.
        seed: the run's seed. Shuffling and augmentation have one generator, the criterion another.
        precision: precision of the forward pass: fp32, bf16 or fp16.
        world: the processes that train together. All draw the same batches and take their shares
            of them; each draws its own random numbers for the criterion.
        capture: turns the step of a whole batch into a faster function that does the same, such as
            `graph.GraphedStep`. Its arguments are the step, a function without arguments, and the
            generator that the step draws from.
    """

    def __init__(
        self,
        model: Network,
        criterion: Any,
        batches: TrainingBatches,
        recipe: Recipe,
        epochs: int,
        seed: int,
        precision: str,
        world: World = ALONE,
        capture: Callable[[Callable[[], int], torch.Generator], Callable[[], int]] | None = None,
    ):
        self.model = model
        self.criterion = criterion
        self.batches = batches
        self.recipe = recipe
        self.epochs = epochs
        self.world = world
        self.network = world.wrap(model)
        self.device = next(model.parameters()).device
        self.context = autocast(self.device, precision)
        self.optimizer = make_optimizer(criterion, model, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        batches_seed, *process_seeds = seeds(seed, 1 + 2 * world.size)
        self.drawing = torch.Generator().manual_seed(batches_seed)
        self.mixing = torch.Generator(self.device).manual_seed(process_seeds[world.rank])
        # The network itself may draw (dropout): in each process from another seed.
        if not world.first:
            torch.manual_seed(process_seeds[world.size + world.rank])
        self.epoch = 0  # finished epochs
        self.begun = False  # whether an epoch has begun and is not finished
        self.drawn = self.drawing.get_state()  # this or the next epoch is drawn from it
        self.sums = EpochSums(self.device)  # of the epoch that has begun
        # The epoch's plan and learning rates. A CUDA graph reads them, so their place in memory
        # never changes.
        self.plan = torch.empty(0, device=self.device)
        self.rates = torch.zeros(len(batches.sizes), device=self.device)
        self.capture = capture
        self._prepare_step()

    @property
    def steps(self) -> int:
        """Finished steps of the epoch that has begun; 0 between epochs."""
        return self.sums.steps if self.begun else 0

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first step of this epoch, or of the next one."""
        return self.recipe.rate(self.epoch, self.epochs)

    @property
    def last_rate(self) -> float:
        """The learning rate of the last step; before the first step, the rate of that step."""
        steps_per_epoch = len(self.batches.sizes)
        last_step = max(self.epoch * steps_per_epoch + self.steps - 1, 0)
        epoch, step = divmod(last_step, steps_per_epoch)
        return self._rate(epoch, step)

    def _rate(self, epoch: int, step: int) -> float:
        return self.recipe.rate(epoch + step / len(self.batches.sizes), self.epochs)

    def run_epoch(self, report: Report) -> Summary:
        """Train to the end of the epoch, which may have begun before.

        Args:
            report: called after each step, when a checkpoint can be written. Its errors are raised.

        Raises NonFiniteLoss, naming epoch, step and learning rate.
        """
        self.model.train()
        if not self.begun:
            self.sums.clear()
            self.begun = True
            self.criterion.before_epoch(self.epoch + 1)
        batches, done = self.batches, self.sums.steps
        plan = batches.draw(self.drawing)
        self._copy_plan(plan.rows)
        # `decoded` is first in `zip`, so that its worker processes stop here. If they stopped in a
        # destructor, Ctrl-C would be lost there.
        steps = zip(
            batches.decoded(plan, done), batches.shares[done:], batches.sizes[done:], strict=True
        )
        for pixels, share, size in steps:
            if self.whole_step is not None and size == batches.batch_size:
                unmixed = self.whole_step()
            else:
                unmixed = self._step(share, size, pixels)
            self.sums.count(share, unmixed)
            read = self.sums.steps % READ_EVERY == 0
            report(size, self.read() if read else None)
        summary = self.read()
        self.criterion.after_epoch(self.epoch + 1)
        self.world.average_statistics(self.model)
        self.epoch += 1
        self.begun = False
        self.drawn = self.drawing.get_state()
        return summary

    def _copy_plan(self, rows: Tensor) -> None:
        """Copy the epoch's plan and learning rates into the tensors that the steps read."""
        if self.plan.shape == rows.shape:
            self.plan.copy_(rows)
        else:  # the first epoch
            self.plan = rows
        rates = [self._rate(self.epoch, step) for step in range(len(self.rates))]
        self.rates.copy_(torch.tensor(rates))

    def read(self) -> Summary:
        """Collective: the sums of the epoch so far. It must have begun.

        Raises NonFiniteLoss, naming epoch, step and learning rate.
        """
        try:
            return self.sums.read(self.world)
        except NonFiniteLoss as error:
            raise NonFiniteLoss(
                f"the loss became NaN or infinite in epoch {self.epoch + 1} {error} (learning "
                f"rate {self.last_rate:g}): try a lower --learning-rate"
            ) from None

    def _step(self, share: int, size: int, pixels: Tensor | None) -> int:
        """Take one step. One CUDA graph serves all steps with the same number of images, because
        all that changes is in tensors on the device: `sums.step` selects the row of the plan.

        Args:
            share: images in this process.
            size: images over all processes.
            pixels: the images that the host read, None if all are on the device.

        Returns:
            how many of this process's images are not mixed.
        """
        row = self.plan.index_select(0, self.sums.step)[0, :, :share]
        inputs, targets = self.batches.batch(row, pixels)
        tail = size < self.batches.batch_size
        inputs, targets = self.criterion.preprocess(
            inputs, targets, generator=self.mixing, tail=tail
        )
        inputs.requires_grad_(self.criterion.penalizes_inputs)
        with self.context:
            logits = self.network(inputs)
            loss = self.criterion(logits, targets) + self.criterion.penalty(inputs, logits)
        self.optimizer.zero_grad()
        rate = self.rates.index_select(0, self.sums.step)[0]
        for group in self.optimizer.param_groups:
            torch.mul(rate, group.get("scale", 1), out=group["lr"])
        # DistributedDataParallel averages the gradients over the processes, whatever their shares:
        # this factor makes it the mean over all images.
        self.scaler.scale(loss * (len(targets) * self.world.size / size)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        logits, loss = logits.detach(), loss.detach()
        with self.context:
            self.criterion.after_step(self.model, inputs.detach(), targets, logits)
        own_logits, own_targets = self.criterion.unmixed(logits, targets)
        self.sums.add(loss, len(targets), own_logits, own_targets)
        return len(own_targets)

    def _prepare_step(self) -> None:
        """Put the learning rates on the device, and prepare the step of a whole batch.

        Must be called again when the optimizer's tensors are replaced: a graph keeps using the
        tensors of its capture.
        """
        for group in self.optimizer.param_groups:
            rate = self.last_rate * group.get("scale", 1)
            group["lr"] = torch.full((), rate, device=self.device)
        # Makes the scaler's tensors. A capture could not.
        self.scaler.scale(torch.zeros((), device=self.device))
        whole = partial(self._step, self.batches.shares[0], self.batches.batch_size, None)
        self.whole_step = self.capture(whole, self.mixing) if self.capture else None

    def state_dict(self) -> dict[str, Any]:
        """Collective: everything that `load_state_dict` needs to go on, after any step.

        Only the first process's result is complete.

        Raises NonFiniteLoss if the loss or the weights are NaN or infinite.
        """
        return state.save(self)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go back to a state from `state_dict`.

        Raises ValueError, or other errors, if the state does not fit.
        """
        state.load(self, saved)
        self._prepare_step()  # the optimizer now has the checkpoint's tensors
