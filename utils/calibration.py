"""Fits the temperature by which a network's logits are divided, so that it is calibrated."""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .bins import BINS
from .confidences import HIGH, HIGHEST, LOW, LOWEST, Confidences, in_chunks

# The first search has at least this many temperatures. Confidences between nodes are interpolated.
MIN_POINTS = 2001
# Each later search has FINER_POINTS temperatures around each of the BEST_POINTS best.
FINER_POINTS, BEST_POINTS, FINER_SEARCHES = 41, 12, 3
BISECTIONS = 42  # of the range of log10 T, which is then known to 12 decimals


def _best_first(points: Tensor, values: Tensor) -> Tensor:
    """Return the indices that sort points [K] by their values [K].

    Of points with equal values (to 12 decimals) the one nearest 0 = log 1 comes first.
    """
    near_first = points.abs().argsort(stable=True)
    return near_first[values[near_first].round(decimals=12).argsort(stable=True)]


def _calibration_errors(confidence: Tensor, correct: Tensor) -> Tensor:
    """Return the ECE [K] of confidences [K, N] and correct answers [N], 1 or 0.

    This is `metrics.expected_calibration_error` of many temperatures at once.
    """
    which = (confidence * BINS).ceil_().clamp_(1, BINS).long()  # counted from 1
    sums = torch.zeros(len(confidence), BINS + 1, dtype=torch.float64).scatter_add(
        1, which, correct - confidence
    )
    return sums.abs().sum(1) / len(correct)


def _lowest_ece(logits: Tensor, labels: Tensor) -> float:
    """Return log10 of the temperature with the lowest ECE."""
    correct = (logits.argmax(1) == labels).double()
    confidences = Confidences(logits)

    def interpolated_ece(points: Tensor) -> Tensor:
        return _calibration_errors(confidences.interpolated(points), correct)

    points = torch.linspace(LOW, HIGH, max(MIN_POINTS, len(confidences.nodes)), dtype=torch.float64)
    values = in_chunks(interpolated_ece, points, len(labels))
    spacing = (HIGH - LOW) / (len(points) - 1)
    for _ in range(FINER_SEARCHES):
        best = points[_best_first(points, values)[:BEST_POINTS]]
        offsets = torch.linspace(-spacing, spacing, FINER_POINTS, dtype=torch.float64)
        finer = (best[:, None] + offsets).flatten().clamp(LOW, HIGH).unique()
        points = torch.cat([points, finer])
        values = torch.cat([values, in_chunks(interpolated_ece, finer, len(labels))])
        spacing /= (FINER_POINTS - 1) / 2
    best = points[_best_first(points, values)[:BEST_POINTS]]
    exact = in_chunks(
        lambda points: _calibration_errors(confidences.exact(points), correct), best, logits.numel()
    )
    return best[_best_first(best, exact)[0]].item()


def _lowest_nll(logits: Tensor, labels: Tensor) -> float:
    """Return log10 of the temperature with the lowest mean negative log-likelihood (NLL).

    The NLL is convex in 1/T, so bisection finds it.
    """
    gaps = logits - logits.gather(1, labels[:, None])

    def too_high(point: float) -> bool:
        # The derivative by 1/T is the mean of Σ_j p_j gap_j; the derivative by T has the opposite
        # sign. Where the NLL is flat, no temperature is better, so the search goes towards 1.
        slope = -((gaps * 10**-point).softmax(1) * gaps).sum(1).mean().item()
        return (slope if abs(slope) >= 1e-14 else point) > 0

    return _bisect(too_high)[0]


def _bisect(too_high: Callable[[float], bool]) -> tuple[float, float]:
    """Return two points of log10 T, 1e-12 apart: the first is not too high, the second is."""
    low, high = LOW, HIGH
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if too_high(middle):
            high = middle
        else:
            low = middle
    return low, high


FEWEST_ERRORS = 10  # with fewer, a temperature is uncertain: docs/calibrate.md, "How many errors"
OBJECTIVES = {"ece": _lowest_ece, "nll": _lowest_nll}


def _mean_confidence(logits: Tensor, point: float) -> float:
    """Return the mean of max p at temperature 10^point. A higher temperature never raises it."""
    gaps = logits - logits.amax(1, keepdim=True)
    return (1 / (gaps * 10**-point).exp_().sum(1)).mean().item()


def _checked(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits in float64 and the labels in int64, on the CPU.

    Raises ValueError for arguments that `fit_temperature` cannot use.
    """
    logits = torch.as_tensor(logits).detach().cpu()
    labels = torch.as_tensor(labels).cpu()
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
    # To int64 before all else: PyTorch lacks most operations for uint64. A label that does not fit
    # into int64 becomes negative.
    wide, labels = logits.double(), labels.long()
    if bad := int((~wide.isfinite().all(1)).sum()):
        raise ValueError(f"the logits of {bad} of {len(wide)} examples are not finite")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"the labels must be integers in 0 to {logits.shape[1] - 1}, got {int(labels.min())} "
            f"to {int(labels.max())}"
        )
    size = wide.abs().amax(1).median().item()
    spread = (wide.amax(1) - wide.amin(1)).median().item()
    precision = logits.dtype if logits.is_floating_point() else wide.dtype
    if torch.finfo(precision).eps * size > max(spread / 10, LOWEST):
        raise ValueError(
            f"the logits are around {size:.0e}, where {precision} rounds away what they differ "
            "by: subtract each example's largest logit before they are rounded"
        )
    return wide, labels


def _warnings(logits: Tensor, errors: int, objective: str, best: float) -> Iterator[str]:
    """Yield the warnings about the fitted temperature, 10^best."""
    count = len(logits)
    if not errors:
        yield (
            f"all {count} examples are classified right, which does not say how sure the network "
            f"may be: the temperature keeps their mean confidence at {count + 1}/{count + 2} or "
            "less (take more or harder ones, until some are wrong)"
        )
    elif errors < FEWEST_ERRORS:
        yield (
            f"few answers are wrong ({errors} of {count:,}), and a temperature is learned from "
            f"these, so it is uncertain (take more examples, until {FEWEST_ERRORS} are wrong)"
        )
    # For most sets the first 1,000 examples answer this, and `all` stops there.
    if all(
        _mean_confidence(examples, LOW) - _mean_confidence(examples, HIGH) < 1e-12
        for examples in (logits[:1000], logits)
    ):
        spread = (logits.amax(1) - logits.amin(1)).max().item()
        yield (
            f"no temperature in [{LOWEST}, {HIGHEST:g}] changes the confidences: "
            f"look at the logits, which differ by up to {spread:.0e} within an example"
        )
    bound = LOW if best < 0 else HIGH
    if abs(best - bound) < 1e-4:  # of equally good temperatures, one inside may be the nearest to 1
        yield (
            f"the best temperature by {objective.upper()} lies at the bound {10**bound:g} of "
            f"[{LOWEST}, {HIGHEST:g}]"
        )


def fit_temperature(logits: Tensor, labels: Tensor, objective: str = "ece") -> float:
    """Return the temperature T in [0.001, 100] that minimises the ECE or the NLL of logits/T.

    The ECE (15 bins) is piecewise in T, with many local minima and jumps, so its search is global:
    a grid of 2,001 points or more, evenly spaced in log T (up to 20,001 for a small set), then
    finer and finer grids around its best points. A denser grid could lower the ECE by about 0.001
    for a few hundred examples, and by less for more; the ECE of fewer examples means little. Of
    equally good temperatures the one nearest 1 (in log T) is returned.

    If all N answers are right, a lower T always gives a lower ECE and NLL, so these cannot tell how
    sure the network may be. Then T is the lowest temperature whose mean confidence is at most
    (N + 1)/(N + 2). By Laplace's rule of succession this is the probability that one more answer is
    right.

    Args:
        logits: [N, C] at temperature 1.
        labels: classes [N].
        objective: "ece" (as in the DisMax paper) or "nll" (Guo et al. 2017).

    Warns if the result lies at a bound, if fewer than 10 answers are wrong, and if no temperature
    changes the confidences.

    Raises ValueError for an unknown objective, for logits that are not real and finite, for logits
    so large that rounding hides their differences, and for labels that are no classes of the
    logits.
    """
    temperature, messages = fit_and_judge(logits, labels, objective)
    for message in messages:
        warnings.warn(message, stacklevel=2)
    return temperature


def fit_and_judge(logits: Tensor, labels: Tensor, objective: str) -> tuple[float, list[str]]:
    """Return what `fit_temperature` returns, and the texts of its warnings. It does not warn."""
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}: choose from {', '.join(OBJECTIVES)}")
    with torch.device("cpu"):  # a script may have another default
        return _fit_and_judge(*_checked(logits, labels), objective)


def _fit_and_judge(logits: Tensor, labels: Tensor, objective: str) -> tuple[float, list[str]]:
    errors = int((logits.argmax(1) != labels).sum())
    limit = (len(labels) + 1) / (len(labels) + 2)
    if not errors and _mean_confidence(logits, LOW) > limit:
        best = _bisect(lambda point: _mean_confidence(logits, point) <= limit)[1]
    else:
        best = OBJECTIVES[objective](logits, labels)
    best = round(best, 11)  # makes exactly 1 and the bounds possible
    return 10**best, list(_warnings(logits, errors, objective, best))
