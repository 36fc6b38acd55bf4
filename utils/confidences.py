"""The confidences of a network's answers at many temperatures, exact or interpolated.

Part of the package `dismax`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

LOWEST, HIGHEST = 0.001, 100.0  # the range of temperatures
LOW, HIGH = math.log10(LOWEST), math.log10(HIGHEST)
# Number of temperatures, evenly spaced in log T, whose confidences are computed exactly. A small
# set has more, since its ECE jumps more. MAX_WORK limits their product with the number of logits.
MIN_NODES, MAX_NODES, MAX_WORK = 129, 20_001, 3e7
CHUNK = 2**17  # numbers computed at once: as many as fit into the processor's cache


def in_chunks(function: Callable[[Tensor], Tensor], points: Tensor, size: int) -> Tensor:
    """Compute a function of points [K] for a few points at a time.

    One point takes `size` numbers. There are √CHUNK points at a time or less, because
    `Confidences.interpolated` makes a matrix of points by points.
    """
    count = max(1, min(CHUNK // size, math.isqrt(CHUNK)))
    return torch.cat([function(chunk) for chunk in points.split(count)])


class Confidences:
    """The confidence max p of each image at any temperature, exact or interpolated.

    1/confidence - 1 = Σ_j exp(-gap_j/T), the sum being over the other classes. Its logarithm is
    smooth in log T, so cubic interpolation from a table of exact values has an error of less than
    3e-5 in the confidence, even in the coarsest table. It takes N numbers for each temperature in
    place of N·C exponentials.
    """

    def __init__(self, logits: Tensor):
        self.gaps = logits - logits.amax(1, keepdim=True)
        count = int(min(max(MAX_WORK / logits.numel(), MIN_NODES), MAX_NODES))
        self.spacing = (HIGH - LOW) / (count - 1)
        self.nodes = torch.linspace(LOW, HIGH, count, dtype=torch.float64)
        confidences = in_chunks(self.exact, self.nodes, logits.numel())
        self.table = (1 / confidences - 1).clamp_min_(1e-15).log_()  # [count, N]

    def exact(self, points: Tensor) -> Tensor:
        """Return the confidences [K, N] at the temperatures 10^points, points [K]."""
        return 1 / (self.gaps * 10 ** -points[:, None, None]).exp_().sum(2)

    def interpolated(self, points: Tensor) -> Tensor:
        """Return almost the same as `exact`, by cubic interpolation. The points must be sorted."""
        position = (points - LOW) / self.spacing
        first = position.long().sub(1).clamp(0, len(self.nodes) - 4)  # of the four nodes
        x = position - first
        weights = (
            (1 - x) * (2 - x) * (3 - x) / 6,
            x * (2 - x) * (3 - x) / 2,
            x * (x - 1) * (3 - x) / 2,
            x * (x - 1) * (x - 2) / 6,
        )
        # One matrix product with the table's rows that are needed. Sorted points need few.
        start, end = int(first.min()), int(first.max()) + 4
        matrix = x.new_zeros(len(x), end - start)
        matrix.scatter_(1, (first - start)[:, None] + torch.arange(4), torch.stack(weights, 1))
        return 1 / (matrix @ self.table[start:end]).exp_().add_(1)
