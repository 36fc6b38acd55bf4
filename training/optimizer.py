"""Makes the optimizer of a recipe."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiment.recipes import MOMENTUM, Recipe
from models import Network


def make_optimizer(criterion: Any, model: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of all parameters that are trained.

    Each parameter group has a `scale`: the recipe's learning rate times it is the group's.
    """
    groups = criterion.parameter_groups(model, recipe.weight_decay)
    if recipe.body_scale != 1:
        groups = _by_part(groups, model, recipe.body_scale)
    # Fused: the device skips a step whose scaled gradients overflowed. Otherwise the host would ask
    # the device at every step.
    if recipe.optimizer == "adamw":
        # A CUDA graph can hold its step only if it is capturable.
        capturable = next(model.parameters()).is_cuda
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True, capturable=capturable)
    optimizer = torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=MOMENTUM, nesterov=True, fused=True
    )
    # Create the momentum now: a skipped first fp16 step leaves fused SGD's buffers uninitialised.
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _by_part(
    groups: list[dict[str, Any]], model: Network, body_scale: float
) -> list[dict[str, Any]]:
    """Split each group into the parameters of the body and those of the head."""
    in_body = {id(parameter) for parameter in model.body.parameters()}
    split = []
    for group in groups:
        body = [parameter for parameter in group["params"] if id(parameter) in in_body]
        head = [parameter for parameter in group["params"] if id(parameter) not in in_body]
        split += [
            group | {"params": parameters, "scale": scale}
            for parameters, scale in ((body, body_scale), (head, 1.0))
            if parameters
        ]
    return split


def check_state(optimizer: torch.optim.Optimizer) -> None:
    """Raises ValueError if a tensor of the optimizer's state is not of its parameter's shape.

    A fused step would read beyond the end of a smaller one.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            tensors = [
                value
                for name, value in optimizer.state[parameter].items()
                if isinstance(value, Tensor) and name != "step"
            ]
            if not tensors and isinstance(optimizer, torch.optim.SGD):
                raise ValueError("the optimizer has no momentum for a parameter")
            if any(tensor.shape != parameter.shape for tensor in tensors):
                raise ValueError("the optimizer's state is not that of these parameters")
