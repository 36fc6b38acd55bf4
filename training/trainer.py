"""The training loop.

It knows a model, a criterion that keeps the contract, and batches; it knows no method by name.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from experiment.recipes import Recipe
from utils.distributed import ALONE, World
from utils.runtime import autocast, seeds

from .epoch_sums import EpochSums, NonFiniteLoss, Summary

# (images since the last call, the epoch so far where it was read).
Report = Callable[[int, Summary | None], None]
READ_EVERY = 50  # steps between two reads of the running sums from the device


class Plan(Protocol):
    """An epoch, drawn before its first step."""

    rows: Tensor  # int64 [steps, ...], on the device


class Batches(Protocol):
    """What the loop needs of the training data; `data.batches.TrainingBatches` says more."""

    batch_size: int
    sizes: list[int]  # images of each of an epoch's steps, over all processes
    shares: list[int]  # this process's share of them

    def draw(self, generator: torch.Generator) -> Plan:
        """An epoch's plan, from a CPU generator."""
        ...

    def decoded(self, plan: Plan, start: int = 0) -> Iterator[Tensor | None]:
        """The images that the host reads for each step, from step `start` (from 0) on; None where
        all are on the device.
        """
        ...

    def batch(self, row: Tensor, pixels: Tensor | None) -> tuple[Tensor, Tensor]:
        """A step's inputs and targets, from its row of the plan without the padding and from the
        images that the host read.
        """
        ...


class Trainer:
    """A model in training, with all the state that a resumed run needs to go on bit for bit, from
    any step.

    Args:
        model: images [B, 3, H, W] to logits [B, C].
        criterion: keeps the contract of `losses.LossSecondPart`.
        batches: the training data.
        recipe: how to train, for `epochs` in all.
        seed: the run's; shuffling, augmentation and the criterion's mixing draw from generators of
            their own.
        precision: of the forward pass: fp32, bf16 or fp16.
        world: the processes that train it together. All draw the same batches and take their shares
            of them; each mixes its own.
        capture: such as `graph.GraphedStep`. It takes the step of a whole batch (a function without
            arguments) and the generator that the step draws from, and returns a faster function
            that does the same.
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
        world: World = ALONE,
        capture: Callable[[Callable[[], int], torch.Generator], Callable[[], int]] | None = None,
    ):
        self.model, self.criterion, self.batches, self.world = model, criterion, batches, world
        self.recipe, self.epochs = recipe, epochs
        self.network = world.wrap(model)
        self.device = next(model.parameters()).device
        self.context = autocast(self.device, precision)
        # Fused: the device itself skips a step whose scaled gradients overflowed, else the host
        # would have to ask it at every step.
        groups = criterion.parameter_groups(model, recipe.weight_decay)
        self.optimizer = torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True, fused=True
        )
        # Create the momentum now: a first fp16 step that is skipped leaves the buffers of fused SGD
        # uninitialised.
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        seed_batches, *others = seeds(seed, 1 + 2 * world.size)
        self.drawing = torch.Generator().manual_seed(seed_batches)
        self.mixing = torch.Generator(self.device).manual_seed(others[world.rank])
        # What a network draws for itself (dropout); its weights are drawn already, and the first's.
        if not world.first:
            torch.manual_seed(others[world.size + world.rank])
        self.epoch = 0  # epochs done
        # From which the epoch is drawn that is going on, or comes.
        self.drawn = self.drawing.get_state()
        self.begun = False  # whether an epoch is going on
        self.sums = EpochSums(self.device)  # of that epoch
        # The epoch's rows and learning rates. A CUDA graph reads them, so they stay where they are
        # in memory.
        self.plan: Tensor | None = None
        self.rates = torch.zeros(len(batches.sizes), device=self.device)
        self.capture = capture
        self._make_ready()

    @property
    def steps(self) -> int:
        """Steps done of the epoch that is going on; 0 between epochs."""
        return self.sums.steps if self.begun else 0

    @property
    def learning_rate(self) -> float:
        """Of the first step of the epoch that is going on, or of the coming one."""
        return self.recipe.rate(self.epoch, self.epochs)

    @property
    def last_rate(self) -> float:
        """The learning rate of the last step; before the first step, the rate of that step."""
        steps = len(self.batches.sizes)
        return self._rate(*divmod(max(self.epoch * steps + self.steps - 1, 0), steps))

    def _rate(self, epoch: int, step: int) -> float:
        return self.recipe.rate(epoch + step / len(self.batches.sizes), self.epochs)

    def run_epoch(self, report: Report) -> Summary:
        """Train to the end of the epoch, which may have begun before. Raises NonFiniteLoss, naming
        epoch, step and learning rate.

        `report` is called after each step, when the state is one to go on from; what it raises is
        raised.
        """
        self.model.train()
        if not self.begun:
            self.sums.clear()
            self.begun = True
            self.criterion.before_epoch(self.epoch + 1)
        done, batches = self.sums.steps, self.batches
        plan = batches.draw(self.drawing)
        self._lay_out(plan.rows)
        for pixels, images, count in zip(
            batches.decoded(plan, done), batches.shares[done:], batches.sizes[done:], strict=True
        ):
            graphed = self.whole_step is not None and count == batches.batch_size
            self.sums.count(
                images, self.whole_step() if graphed else self._step(images, count, pixels)
            )
            report(count, self.read() if self.sums.steps % READ_EVERY == 0 else None)
        summary = self.read()
        self.criterion.after_epoch(self.epoch + 1)
        self.world.average_statistics(self.model)
        self.epoch += 1
        self.drawn, self.begun = self.drawing.get_state(), False
        return summary

    def _lay_out(self, rows: Tensor) -> None:
        """Copy the epoch's plan and learning rates into the tensors that the steps read."""
        self.plan = rows if self.plan is None else self.plan.copy_(rows)
        self.rates.copy_(
            torch.tensor([self._rate(self.epoch, step) for step in range(len(self.rates))])
        )

    def read(self) -> Summary:
        """Collective: the epoch so far, which has begun.

        Raises NonFiniteLoss, naming epoch, step and learning rate.
        """
        try:
            return self.sums.read(self.world)
        except NonFiniteLoss as error:
            raise NonFiniteLoss(
                f"the loss became NaN or infinite in epoch {self.epoch + 1} {error} (learning "
                f"rate {self.last_rate:g})"
            ) from None

    def _step(self, images: int, count: int, pixels: Tensor | None) -> int:
        """One step with this process's share, `images` of `count`. Returns how many of its images
        are not mixed.

        All that changes from step to step is in tensors on the device: `sums.step` says which row
        of the plan comes. So a CUDA graph of one step serves every step with as many images.
        """
        row = self.plan.index_select(0, self.sums.step)[0, :, :images]
        inputs, targets = self.batches.batch(row, pixels)
        tail = count < self.batches.batch_size
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
            group["lr"].copy_(rate)
        # Gradients are averaged over the processes as if each had as many images.
        self.scaler.scale(loss * (len(targets) * self.world.size / count)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        logits, loss = logits.detach(), loss.detach()
        with self.context:
            self.criterion.after_step(self.model, inputs.detach(), targets, logits)
        own_logits, own_targets = self.criterion.unmixed(logits, targets)
        self.sums.add(loss, len(targets), own_logits, own_targets)
        return len(own_targets)

    def _make_ready(self) -> None:
        """Give the optimizer learning rates on the device, and prepare the step of a whole batch.

        A graph keeps using the tensors that are there when it is captured, so this comes after they
        were replaced.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = torch.full((), self.last_rate, device=self.device)
        # Makes its tensors, which no capture may make.
        self.scaler.scale(torch.zeros((), device=self.device))
        whole = partial(self._step, self.batches.shares[0], self.batches.batch_size, None)
        self.whole_step = self.capture(whole, self.mixing) if self.capture else None

    def state_dict(self) -> dict[str, Any]:
        """Collective: all that a later `load_state_dict` needs to go on as if nothing had happened,
        between any two steps.

        On the first process; the others' are of no use. Raises NonFiniteLoss if there is nothing to
        go on from.
        """
        if self.steps:
            self.read()
        parameters = {name: parameter.detach() for name, parameter in self.model.named_parameters()}
        # A loss that was finite can have been the last: the step that followed broke the weights.
        broken = sum((~parameter.isfinite()).any().long() for parameter in parameters.values())
        if self.world.all_max(int(broken)):
            raise NonFiniteLoss(
                f"the weights became NaN or infinite in epoch {self.epoch + 1} (learning rate "
                f"{self.last_rate:g})"
            )
        own = {
            "buffers": {
                name: value.cpu()
                for name, value in self.model.state_dict().items()
                if name not in parameters
            },
            "sums": self.sums.state_dict() if self.begun else None,
            "mixing": self.mixing.get_state(),
            "global": torch.get_rng_state(),
            "global_cuda": torch.cuda.get_rng_state(self.device)
            if self.device.type == "cuda"
            else None,
        }
        return {
            "epoch": self.epoch,
            "parameters": parameters,
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "drawn": self.drawn,
            "processes": self.world.gather(own),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises ValueError, among others, for what does not fit.
        """
        if len(state["processes"]) != self.world.size:
            count = len(state["processes"])
            raise ValueError(
                f"{count} processes wrote it, this is {self.world.size}: take torchrun "
                f"--nproc-per-node={count}"
            )
        own = state["processes"][self.world.rank]
        self.model.load_state_dict(state["parameters"] | own["buffers"])
        for name in ("criterion", "optimizer", "scaler"):
            getattr(self, name).load_state_dict(state[name])
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                buffer = self.optimizer.state[parameter].get("momentum_buffer")
                # A fused step would read beyond it.
                if buffer is None or buffer.shape != parameter.shape:
                    raise ValueError("the optimizer's momentum is not that of these parameters")
        self.begun = own["sums"] is not None
        if self.begun:
            self.sums.load_state_dict(own["sums"])
        self.drawing.set_state(state["drawn"])
        self.drawn = state["drawn"]
        self.mixing.set_state(own["mixing"])
        torch.set_rng_state(own["global"])
        if own["global_cuda"] is not None:
            torch.cuda.set_rng_state(own["global_cuda"], self.device)
        self.epoch = state["epoch"]
        self._make_ready()  # the optimizer took over the checkpoint's tensors
