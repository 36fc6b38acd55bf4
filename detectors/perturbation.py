"""Small perturbations of the inputs that increase a score, and the choice of their size ε.

They increase the score more for in-distribution images than for others. The perturbations are
ODIN's (Liang et al. 2018, arXiv 1706.02690). The choice of ε without OOD data is that of Hsu et al.
(2020, arXiv 2002.11297). A score is here a differentiable function of inputs [B, 3, H, W] to [B].
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from .common import float64
from .contract import FitData, Fitted, SetOutputs

Epsilon = float | Literal["chosen"]  # the size of a perturbation, for pixels in [0, 1]
EPSILONS = (0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)  # candidates; 0 changes nothing


def by_channel(values: Sequence[float], inputs: Tensor) -> Tensor:
    """Return one number for each channel as a tensor [channels, 1, 1], with the inputs' type and
    device.
    """
    return torch.tensor(values, dtype=inputs.dtype, device=inputs.device).view(-1, 1, 1)


def ascent(inputs: Tensor, score: Callable[[Tensor], Tensor], std: Sequence[float]) -> Tensor:
    """Return sign(∇x Σ S(x)) / std.

    Multiplied by ε, it changes each pixel by ε. To first order, no other change of pixels by at
    most ε increases the scores more.
    """
    kind = inputs.device.type
    # In float16 the gradients of confident images underflow, and their signs are lost.
    half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    precision = torch.autocast(kind, enabled=False) if half else nullcontext()
    # Enable gradients whatever mode the caller has set.
    with torch.inference_mode(False), torch.enable_grad(), precision:
        inputs = inputs.clone().requires_grad_()
        # The gradient of the inputs alone; parameters get none.
        (gradient,) = torch.autograd.grad(score(inputs).sum(), inputs)
    return gradient.sign() / by_channel(std, inputs)


def perturbed(
    inputs: Tensor, score: Callable[[Tensor], Tensor], epsilon: float, std: Sequence[float]
) -> Tensor:
    """Return x + ε·sign(∇x S(x)) for pixels in [0, 1]; ODIN writes x - ε·sign(-∇x S(x)).

    The result may be outside [0, 1], as in the paper.
    """
    return inputs + epsilon * ascent(inputs, score, std)


@torch.no_grad()
def choose_epsilon(
    batches: Iterable[Tensor], score: Callable[[Tensor], Tensor], std: Sequence[float]
) -> float:
    """Return the ε of EPSILONS with the largest mean S(perturbed x); the smallest of equal ones.

    Raises ValueError if there are no images, or if scores are not finite.
    """
    sums = torch.zeros(len(EPSILONS), dtype=torch.float64)
    images = 0
    for inputs in batches:
        step = ascent(inputs, score, std)
        sums += torch.stack([float64(score(inputs + epsilon * step)).sum() for epsilon in EPSILONS])
        images += len(inputs)
    if not images:
        raise ValueError("choosing ε needs one calibration image or more")
    if not sums.isfinite().all():
        raise ValueError("choosing ε got calibration images whose scores are not all finite")
    return EPSILONS[int(sums.argmax())]


def fit_perturbed(
    data: FitData, score: Callable[[Tensor], Tensor], epsilon: Epsilon, **parameters: float
) -> Fitted:
    """Return the detector whose score is that of perturbed images.

    If ε is "chosen", `choose_epsilon` chooses it on the calibration split. Raises ValueError for
    any other ε that is not a number in [0, 1).
    """
    if epsilon == "chosen":
        epsilon = choose_epsilon(data.calibration.batches(), score, data.std)
    elif isinstance(epsilon, str) or not 0 <= epsilon < 1:  # also refuses NaN
        raise ValueError(f'ε is a number in [0, 1), or "chosen", got {epsilon!r}')

    @torch.no_grad()
    def perturbed_score(images: SetOutputs) -> Tensor:
        return torch.cat(
            [
                float64(score(perturbed(inputs, score, epsilon, data.std)))
                for inputs in images.batches()
            ]
        )

    return Fitted(perturbed_score, {"epsilon": epsilon, **parameters})
