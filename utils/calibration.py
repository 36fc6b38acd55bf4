"""Fits the temperature that makes a network's probabilities honest."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

LOWEST, HIGHEST = 0.001, 100.0  # the range in which the temperature is sought
# Points of the first search, evenly spaced in log T: the more the smaller the set, whose ECE jumps more, within this many
# exponentials.
FEWEST, MOST, WORK = 1001, 20_001, 2e8
UNIMODAL = 101  # points where there is one minimum only
FINER, KEPT, ROUNDS = 41, 12, 3  # then, three times, 41 points around each of the 12 best (or the best)
TOGETHER = 2**20  # exponentials computed at once: what the cache holds

Objective = Callable[[Tensor], Tensor]  # temperatures [K] → values [K], lower is better


def _ece(logits: Tensor, labels: Tensor, bins: int = 15) -> Objective:
    """The expected calibration error, as `metrics.expected_calibration_error` defines it, at each of several temperatures."""
    gaps = logits - logits.amax(1, keepdim=True)
    correct = (logits.argmax(1) == labels).double()

    def objective(temperatures: Tensor) -> Tensor:
        confidence = 1 / (gaps / temperatures[:, None, None]).exp_().sum(2)
        which = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
        sums = torch.zeros(len(temperatures), bins, dtype=torch.float64).scatter_add(1, which, correct - confidence)
        return sums.abs().sum(1) / len(labels)

    return objective


def _nll(logits: Tensor, labels: Tensor) -> Objective:
    """The mean negative log-likelihood at each of several temperatures."""
    gaps = logits - logits.gather(1, labels[:, None])

    def objective(temperatures: Tensor) -> Tensor:
        return (gaps / temperatures[:, None, None]).logsumexp(2).mean(1)

    return objective


OBJECTIVES = {"ece": _ece, "nll": _nll}


def _best_first(points: Tensor, values: Tensor) -> Tensor:
    """The positions of the points by value; of equal values (to 12 decimals) the nearest to 0 = log 1 first."""
    near_first = points.abs().argsort(stable=True)
    return near_first[values[near_first].round(decimals=12).argsort(stable=True)]


def fit_temperature(logits: Tensor, labels: Tensor, objective: str = "ece") -> float:
    """The temperature in [0.001, 100] that minimises the ECE (15 bins) or the NLL of logits/T.

    The ECE is piecewise in T, with many local minima and jumps, so the search is global: a grid evenly spaced in log T (of 1,001
    points or more, up to 20,001 where the set is small), then ever finer grids around its best points. What a still denser grid
    could gain is below 0.001 from a few hundred images on; the ECE of fewer means little. Of equally good temperatures it takes
    the one nearest 1 (in log T).

    Args:
        logits: [N, C] at temperature 1.
        labels: class indices [N].
        objective: "ece" (as in the DisMax paper) or "nll" (Guo et al. 2017).

    Warns if the result lies at a bound. Raises ValueError for an unknown objective, non-finite logits, or labels that do not fit.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}: choose from {', '.join(OBJECTIVES)}")
    logits, labels = torch.as_tensor(logits).detach().double().cpu(), torch.as_tensor(labels).cpu()
    if logits.ndim != 2 or not len(logits) or labels.shape != logits.shape[:1]:
        raise ValueError(f"need logits [N, C] and labels [N], N of 1 or more, got {list(logits.shape)} and {list(labels.shape)}")
    if labels.is_floating_point() or not logits.isfinite().all() or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"the logits must be finite and the labels integers in 0 to {logits.shape[1] - 1}")
    objective_at, together = OBJECTIVES[objective](logits, labels.long()), max(1, TOGETHER // logits.numel())

    def value_at(points: Tensor) -> Tensor:
        return torch.cat([objective_at(10**part) for part in points.split(together)])

    low, high = torch.tensor([LOWEST, HIGHEST], dtype=torch.float64).log10().tolist()
    count, kept = int(min(max(WORK / logits.numel(), FEWEST), MOST)), KEPT
    if objective == "nll":  # one minimum in log T
        count, kept = UNIMODAL, 1
    points = torch.linspace(low, high, count, dtype=torch.float64)
    values = value_at(points)
    spacing = (high - low) / (count - 1)
    for _ in range(ROUNDS):
        around = torch.linspace(-spacing, spacing, FINER, dtype=torch.float64)
        finer = (points[_best_first(points, values)[:kept], None] + around).flatten().clamp(low, high).unique()
        points, values = torch.cat([points, finer]), torch.cat([values, value_at(finer)])
        spacing /= (FINER - 1) / 2
    best = points[_best_first(points, values)[0]].item()
    if best in (low, high):
        warnings.warn(
            f"the best temperature by {objective.upper()} lies at the bound {10**best:g} of [{LOWEST}, {HIGHEST:g}]", stacklevel=2
        )
    return min(max(10 ** round(best, 12), LOWEST), HIGHEST)  # rounded, so that 1 is 1
