"""Fits the temperature that makes a network's probabilities honest."""

import math
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .bins import BINS

LOWEST, HIGHEST = 0.001, 100.0  # the range in which the temperature is sought
LOW, HIGH = math.log10(LOWEST), math.log10(HIGHEST)
# At how many points, evenly spaced in log T, confidences are computed. A smaller set gets more
# points, since its ECE jumps more. WORK limits points times logits.
FEWEST, MOST, WORK = 129, 20_001, 3e7
# Points of the first search, at least; between the computed points, confidences are interpolated.
SCANNED = 2001
FINER, KEPT, ROUNDS = 41, 12, 3  # then, three times, 41 points around each of the 12 best
HALVINGS = 42  # of the range of log10 T, after which it is known to 12 decimals
TOGETHER = 2**17  # numbers computed at once: as many as fit into the cache


def _best_first(points: Tensor, values: Tensor) -> Tensor:
    """The positions of the points, sorted by value.

    Of equal values (to 12 decimals) the point nearest 0 = log 1 comes first.
    """
    near_first = points.abs().argsort(stable=True)
    return near_first[values[near_first].round(decimals=12).argsort(stable=True)]


def _by_parts(function: Callable[[Tensor], Tensor], points: Tensor, size: int) -> Tensor:
    """A function of the points [K], computed for a few points at a time. One point takes `size`
    numbers.

    At most √TOGETHER points at a time, since `_Confidences.nearly` takes a matrix of points by
    points.
    """
    return torch.cat(
        [
            function(part)
            for part in points.split(max(1, min(TOGETHER // size, math.isqrt(TOGETHER))))
        ]
    )


class _Confidences:
    """Each image's max p at any temperature: exactly, or interpolated from a table of exact ones.

    1/confidence - 1 = Σ_j exp(-gap_j/T) over the other classes, whose logarithm is smooth in log T:
    cubic interpolation leaves the confidence off by less than 3e-5 in the coarsest table. It takes
    N numbers a temperature in place of N·C exponentials.
    """

    def __init__(self, logits: Tensor):
        self.gaps = logits - logits.amax(1, keepdim=True)
        count = int(min(max(WORK / logits.numel(), FEWEST), MOST))
        self.spacing = (HIGH - LOW) / (count - 1)
        self.nodes = torch.linspace(LOW, HIGH, count, dtype=torch.float64)
        confidences = _by_parts(self.exactly, self.nodes, logits.numel())
        self.table = (1 / confidences - 1).clamp_min_(1e-15).log_()  # [count, N]

    def exactly(self, points: Tensor) -> Tensor:
        """[K, N] at log10 T of the points [K]."""
        return 1 / (self.gaps * 10 ** -points[:, None, None]).exp_().sum(2)

    def nearly(self, points: Tensor) -> Tensor:
        """As `exactly`, for sorted points, by cubic interpolation from four nodes each."""
        place = (points - LOW) / self.spacing
        first = place.long().sub(1).clamp(0, len(self.nodes) - 4)
        x = place - first
        weights = (
            (1 - x) * (2 - x) * (3 - x) / 6,
            x * (2 - x) * (3 - x) / 2,
            x * (x - 1) * (3 - x) / 2,
            x * (x - 1) * (x - 2) / 6,
        )
        # One product with the rows in question; the points are sorted, so that those are few.
        start, end = int(first.min()), int(first.max()) + 4
        matrix = x.new_zeros(len(x), end - start)
        matrix.scatter_(1, (first - start)[:, None] + torch.arange(4), torch.stack(weights, 1))
        return 1 / (matrix @ self.table[start:end]).exp_().add_(1)


def _calibration_errors(confidence: Tensor, correct: Tensor) -> Tensor:
    """The ECE [K] of confidences [K, N] and correct answers [N], by the bins of `bins`.

    It is `metrics.expected_calibration_error`, of many temperatures at once.
    """
    which = (confidence * BINS).ceil_().clamp_(1, BINS).long()  # counted from 1
    sums = torch.zeros(len(confidence), BINS + 1, dtype=torch.float64).scatter_add(
        1, which, correct - confidence
    )
    return sums.abs().sum(1) / len(correct)


def _lowest_ece(logits: Tensor, labels: Tensor) -> float:
    """log10 of the temperature with the lowest ECE."""
    correct = (logits.argmax(1) == labels).double()
    confidences = _Confidences(logits)

    def ece(confidence: Tensor) -> Tensor:
        return _calibration_errors(confidence, correct)

    def nearly(points: Tensor) -> Tensor:
        return _by_parts(lambda part: ece(confidences.nearly(part)), points, len(labels))

    points = torch.linspace(LOW, HIGH, max(SCANNED, len(confidences.nodes)), dtype=torch.float64)
    values = nearly(points)
    spacing = (HIGH - LOW) / (len(points) - 1)
    for _ in range(ROUNDS):
        around = torch.linspace(-spacing, spacing, FINER, dtype=torch.float64)
        finer = (
            (points[_best_first(points, values)[:KEPT], None] + around)
            .flatten()
            .clamp(LOW, HIGH)
            .unique()
        )
        points, values = torch.cat([points, finer]), torch.cat([values, nearly(finer)])
        spacing /= (FINER - 1) / 2
    best = points[_best_first(points, values)[:KEPT]]
    exact = _by_parts(lambda part: ece(confidences.exactly(part)), best, logits.numel())
    return best[_best_first(best, exact)[0]].item()


def _lowest_nll(logits: Tensor, labels: Tensor) -> float:
    """log10 of the temperature with the lowest mean negative log-likelihood, which is convex in
    1/T, by halving the range.
    """
    gaps = logits - logits.gather(1, labels[:, None])
    low, high = LOW, HIGH
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        # The derivative by 1/T is the mean of Σ_j p_j gap_j; the derivative by T has the opposite
        # sign. Where the NLL is flat, no temperature is better, so the search goes towards 1.
        slope = -((gaps * 10**-middle).softmax(1) * gaps).sum(1).mean().item()
        rises = (slope if abs(slope) >= 1e-14 else middle) > 0
        low, high = (low, middle) if rises else (middle, high)
    return low


OBJECTIVES = {"ece": _lowest_ece, "nll": _lowest_nll}


def _mean_confidence(logits: Tensor, point: float) -> float:
    """The mean of max p at the temperature 10^point; a higher temperature never makes it larger."""
    gaps = logits - logits.amax(1, keepdim=True)
    return (1 / (gaps * 10**-point).exp_().sum(1)).mean().item()


def _no_surer_than(logits: Tensor, most: float) -> float:
    """log10 of the lowest temperature at which the mean confidence is `most` or less, by halving
    the range; or the upper bound.
    """
    low, high = LOW, HIGH
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_confidence(logits, middle) > most else (low, middle)
    return high


def _checked(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits in float64 and the labels in int64, on the CPU.

    Raises ValueError for what `fit_temperature` cannot use.
    """
    logits, labels = torch.as_tensor(logits).detach().cpu(), torch.as_tensor(labels).cpu()
    if logits.ndim != 2 or not len(logits) or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"need logits [N, C] and labels [N], N of 1 or more, got {list(logits.shape)} and "
            f"{list(labels.shape)}"
        )
    if logits.is_complex() or labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            f"the logits must be real numbers and the labels integers, got {logits.dtype} and "
            f"{labels.dtype}"
        )
    # int64 first: PyTorch hardly computes with uint64. What does not fit becomes negative.
    wide, labels = logits.double(), labels.long()
    if not wide.isfinite().all() or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"the logits must be finite and the labels integers in 0 to {logits.shape[1] - 1}"
        )
    size, spread = wide.abs().amax(1).median().item(), (wide.amax(1) - wide.amin(1)).median().item()
    precision = logits.dtype if logits.is_floating_point() else wide.dtype
    if torch.finfo(precision).eps * size > max(spread / 10, LOWEST):
        raise ValueError(
            f"the logits are around {size:.0e}, where {precision} rounds away what they differ "
            "by: subtract each example's largest "
            "logit before they are rounded"
        )
    return wide, labels


def _doubts(logits: Tensor, faultless: bool, objective: str, best: float) -> Iterator[str]:
    """The warnings about the fitted temperature, 10^best."""
    count = len(logits)
    if faultless:
        yield (
            f"all {count} examples are classified right, which does not say how sure the network "
            "may be: the temperature keeps "
            f"their mean confidence at {count + 1}/{count + 2} or less (take more or harder ones, "
            "until some are wrong)"
        )
    # The first 1,000 examples alone answer this for most sets.
    if all(
        _mean_confidence(part, LOW) - _mean_confidence(part, HIGH) < 1e-12
        for part in (logits[:1000], logits)
    ):
        apart = (logits.amax(1) - logits.amin(1)).max().item()
        yield (
            f"no temperature in [{LOWEST}, {HIGHEST:g}] changes the confidences: "
            f"look at the logits, which differ by up to {apart:.0e} within an example"
        )
    if best in (LOW, HIGH):
        yield (
            f"the best temperature by {objective.upper()} lies at the bound {10**best:g} of "
            f"[{LOWEST}, {HIGHEST:g}]"
        )


def fit_temperature(logits: Tensor, labels: Tensor, objective: str = "ece") -> float:
    """The temperature in [0.001, 100] that minimises the ECE (15 bins) or the NLL of logits/T.

    The ECE is piecewise in T, with many local minima and jumps, so its search is global: a grid of
    2,001 points or more evenly spaced in log T (up to 20,001 where the set is small), then ever
    finer grids around its best points. What a still denser grid could gain is about 0.001 at a few
    hundred examples and less with more; the ECE of fewer means little. Of equally good temperatures
    it takes the one nearest 1 (in log T).

    If all N answers are right, a lower T always gives a lower ECE and NLL, so they cannot tell how
    sure the network may be. Then the temperature is the lowest that keeps the mean confidence at (N
    + 1)/(N + 2) or less. By Laplace's rule of succession this is the probability that one more
    answer is right.

    Args:
        logits: [N, C] at temperature 1.
        labels: class indices [N].
        objective: "ece" (as in the DisMax paper) or "nll" (Guo et al. 2017).

    Warns if the result lies at a bound, if all answers are right, and if no temperature changes the
    confidences. Raises ValueError for an unknown objective, logits that are not real and finite,
    logits so large that rounding hides their differences, and labels that do not fit.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}: choose from {', '.join(OBJECTIVES)}")
    logits, labels = _checked(logits, labels)
    faultless, most = (
        bool((logits.argmax(1) == labels).all()),
        (len(labels) + 1) / (len(labels) + 2),
    )
    if faultless and _mean_confidence(logits, LOW) > most:
        best = _no_surer_than(logits, most)
    else:
        best = OBJECTIVES[objective](logits, labels)
    best = round(best, 11)  # so that 1 is 1, and a bound a bound
    for doubt in _doubts(logits, faultless, objective, best):
        warnings.warn(doubt, stacklevel=2)
    return 10**best
