"""The state of a trainer: everything that a resumed run needs to compute the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .epoch_sums import NonFiniteLoss
from .optimizer import check_state

if TYPE_CHECKING:
    from .trainer import Trainer


def save(trainer: Trainer) -> dict[str, Any]:
    """Collective: the trainer's state, as `Trainer.state_dict` describes it."""
    if trainer.steps:
        trainer.read()
    parameters = {name: value.detach() for name, value in trainer.model.named_parameters()}
    # After a finite loss, the step itself can break the weights.
    broken = sum((~parameter.isfinite()).any().long() for parameter in parameters.values())
    if trainer.world.all_max(int(broken)):
        raise NonFiniteLoss(
            f"the weights became NaN or infinite in epoch {trainer.epoch + 1} (learning rate "
            f"{trainer.last_rate:g}): try a lower --learning-rate"
        )
    return {
        "epoch": trainer.epoch,
        "parameters": parameters,
        "criterion": trainer.criterion.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "drawn": trainer.drawn,
        "processes": trainer.world.gather(_own_state(trainer)),
    }


def _own_state(trainer: Trainer) -> dict[str, Any]:
    """What differs between the processes of a run."""
    parameters = {name for name, _ in trainer.model.named_parameters()}
    state, device = trainer.model.state_dict(), trainer.device
    return {
        "buffers": {name: value.cpu() for name, value in state.items() if name not in parameters},
        "sums": trainer.sums.state_dict() if trainer.begun else None,
        "mixing": trainer.mixing.get_state(),
        "global": torch.get_rng_state(),
        "global_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def load(trainer: Trainer, state: dict[str, Any]) -> None:
    """Give the trainer a state from `save`.

    Raises ValueError, or other errors, if the state does not fit.
    """
    world, count = trainer.world, len(state["processes"])
    if count != world.size:
        raise ValueError(
            f"{count} processes wrote it, this is {world.size}: take torchrun "
            f"--nproc-per-node={count}"
        )
    own = state["processes"][world.rank]
    trainer.model.load_state_dict(state["parameters"] | own["buffers"])
    trainer.criterion.load_state_dict(state["criterion"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    check_state(trainer.optimizer)
    trainer.begun = own["sums"] is not None
    if trainer.begun:
        trainer.sums.load_state_dict(own["sums"])
    trainer.drawing.set_state(state["drawn"])
    trainer.drawn = state["drawn"]
    trainer.mixing.set_state(own["mixing"])
    torch.set_rng_state(own["global"])
    if own["global_cuda"] is not None:
        torch.cuda.set_rng_state(own["global_cuda"], trainer.device)
    trainer.epoch = state["epoch"]
