"""Tells whether the images that a deployed network gets are still those that it was made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A window that is like the held-out images is called different once in a hundred times or less.
LEVEL = 0.01
# Up to this product of the two numbers of images, the Kolmogorov-Smirnov test is exact. Its
# approximation is wrong for few images, and the exact test is slow for many.
EXACT = 100_000


@dataclass(frozen=True)
class Drift:
    """What `drift` found. `print` shows it in a few lines."""

    images: int  # in the window
    held_out: int
    statistic: float  # Kolmogorov-Smirnov: the largest gap between the two distributions
    p_value: float  # the probability of such a gap or a larger one, if nothing has changed
    refused: float  # the share of the window below the threshold
    low: float  # the 99 % interval (Clopper-Pearson) of that share, for images like the window's
    high: float
    promised: float  # the share of the held-out images below the threshold
    refused_p_value: float  # as p_value, for the two shares (Fisher's exact test)

    @property
    def differs(self) -> bool:
        """Whether the scores or the share of refused images are those of other images.

        Each of two tests may raise a false alarm, so each has half of the level of 1 %.
        """
        return min(self.p_value, self.refused_p_value) < LEVEL / 2

    def __str__(self) -> str:
        answer = "differs from" if self.differs else "is like"
        return (
            f"the window of {self.images:,} images {answer} the {self.held_out:,} held-out ones\n"
            f"scores: Kolmogorov-Smirnov {self.statistic:.3f} (p = {self.p_value:.2g})\n"
            f"refused: {self.refused:.1%} ({self.low:.1%} to {self.high:.1%}), promised "
            f"{self.promised:.1%} (p = {self.refused_p_value:.2g})"
        )


def drift(held_out_scores: ArrayLike, window_scores: ArrayLike, threshold: float) -> Drift:
    """Compare a window of scores with those of held-out in-distribution images.

    A detector keeps percentiles of the held-out scores, not the scores. So keep these yourself:
    `detector(images).scores` of the held-out images. The combined score compares with the images
    that it was fitted to, so take other images for it, or `detector.score.score.held_out_scores()`.
    (With 40 fitted images themselves, windows of the same kind differed in 1.7 % of 1,000
    simulations instead of 1 % or less: `python -m benchmarks.promise`.)

    Args:
        held_out_scores: [N], a tensor on the CPU or an array, all finite.
        window_scores: [M], the same detector's scores of new images. NaN, the score of an image
            that cannot be classified, counts as refused.
        threshold: images below it are refused: `detector.threshold(tpr)`.

    Raises ValueError for scores that are empty or of another shape, for held-out scores or a
    threshold that are not finite, and for a threshold above all held-out scores.
    """
    # Imported here: it takes a second.
    from scipy.stats import binomtest, fisher_exact, ks_2samp

    held_out = _checked(held_out_scores, "held_out_scores")
    window = _checked(window_scores, "window_scores")
    if not np.isfinite(held_out).all():
        raise ValueError("held_out_scores are not all finite: leave such images out")
    if np.ndim(threshold) or not np.isfinite(threshold := float(threshold)):
        raise ValueError(f"the threshold is a finite number, got {threshold!r:.80}")
    window = np.where(np.isnan(window), -np.inf, window)
    exact = len(held_out) * len(window) <= EXACT
    scores = ks_2samp(held_out, window, method="exact" if exact else "asymp")
    counts = [int((values < threshold).sum()) for values in (window, held_out)]
    shares = [[count, len(v) - count] for count, v in zip(counts, (window, held_out), strict=True)]
    if counts[1] == len(held_out):
        raise ValueError(
            f"the threshold {threshold:.4g} refuses all held-out images: give a score, such as "
            "detector.threshold(0.95), not a share"
        )
    interval = binomtest(counts[0], len(window)).proportion_ci(1 - LEVEL, method="exact")
    return Drift(
        images=len(window),
        held_out=len(held_out),
        statistic=float(scores.statistic),
        p_value=float(scores.pvalue),
        refused=counts[0] / len(window),
        low=float(interval.low),
        high=float(interval.high),
        promised=counts[1] / len(held_out),
        refused_p_value=float(fisher_exact(shares).pvalue),
    )


def _checked(scores: ArrayLike, name: str) -> NDArray:
    """Return scores [N] in float64. Raises ValueError for another shape, or for none."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name} are one score or more in one dimension, got {list(values.shape)}")
    return values
