"""Small changes of the inputs that raise a score, in-distribution more than elsewhere, and how
large they should be.

The changes are ODIN's (Liang et al. 2018, arXiv 1706.02690); their size chosen without OOD data is
Hsu et al.'s (2020, arXiv 2002.11297). Scores here are functions of inputs [B, 3, H, W] to [B] that
gradients pass.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from .common import float64
from .contract import FitData, Fitted, SetOutputs

Epsilon = float | Literal["chosen"]  # the size of a change, in pixels of [0, 1]
EPSILONS = (0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)  # to choose from; at 0 nothing changes


def by_channel(values: Sequence[float], inputs: Tensor) -> Tensor:
    """One number a channel as a tensor [channels, 1, 1] of the type and device of the inputs."""
    return torch.tensor(values, dtype=inputs.dtype, device=inputs.device).view(-1, 1, 1)


def ascent(inputs: Tensor, score: Callable[[Tensor], Tensor], std: Sequence[float]) -> Tensor:
    """sign(∇x Σ S(x)) / std, a channel: times ε, the change by ε a pixel that raises each image's
    score most, to first order.
    """
    kind = inputs.device.type
    # In float16 the gradients of sure images underflow, and their signs are lost.
    half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    precision = torch.autocast(kind, enabled=False) if half else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), precision:  # whatever the caller is in
        inputs = inputs.clone().requires_grad_()
        # Of the inputs alone: no parameter gets one.
        (gradient,) = torch.autograd.grad(score(inputs).sum(), inputs)
    return gradient.sign() / by_channel(std, inputs)


def perturbed(
    inputs: Tensor, score: Callable[[Tensor], Tensor], epsilon: float, std: Sequence[float]
) -> Tensor:
    """x + ε·sign(∇x S(x)) in pixels of [0, 1], ODIN's x - ε·sign(-∇x S(x)).

    The result may leave [0, 1], as in the paper.
    """
    return inputs + epsilon * ascent(inputs, score, std)


@torch.no_grad()
def choose_epsilon(
    batches: Iterable[Tensor], score: Callable[[Tensor], Tensor], std: Sequence[float]
) -> float:
    """Of EPSILONS, the one with the largest mean S(perturbed x), the first of equals.

    Raises ValueError for no images, and for scores that are not finite.
    """
    sums, images = torch.zeros(len(EPSILONS), dtype=torch.float64), 0
    for inputs in batches:
        step = ascent(inputs, score, std)
        sums += torch.stack([float64(score(inputs + epsilon * step)).sum() for epsilon in EPSILONS])
        images += len(inputs)
    if not images:
        raise ValueError("choosing ε needs one deciding image or more")
    if not sums.isfinite().all():
        raise ValueError("choosing ε got deciding images whose scores are not all finite")
    return EPSILONS[int(sums.argmax())]


def fit_perturbed(
    known: FitData, score: Callable[[Tensor], Tensor], epsilon: Epsilon, **parameters: float
) -> Fitted:
    """The score of perturbed images.

    If ε is "chosen", `choose_epsilon` finds it on the deciding images.
    Raises ValueError for any other ε that is no number in [0, 1).
    """
    if epsilon == "chosen":
        epsilon = choose_epsilon(known.deciding.batches(), score, known.std)
    elif isinstance(epsilon, str) or not 0 <= epsilon < 1:  # nor NaN
        raise ValueError(f'ε is a number in [0, 1), or "chosen", got {epsilon!r}')

    @torch.no_grad()
    def perturbed_score(part: SetOutputs) -> Tensor:
        return torch.cat(
            [
                float64(score(perturbed(inputs, score, epsilon, known.std)))
                for inputs in part.batches()
            ]
        )

    return Fitted(perturbed_score, {"epsilon": epsilon, **parameters})
