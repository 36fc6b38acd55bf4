"""Bootstrap intervals over the images of one run.

They say how far a number depends on which images were drawn. They say nothing about another seed:
the network is the same in every resample. (Efron and Tibshirani 1993.)
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utils.bins import BINS
from utils.metrics import bin_of, checked_scores, rank_at

from .statistics import LEVEL

RESAMPLES = 1000
SEED = 0  # of the resamples, so that the same images give the same interval

Interval = tuple[float, float]


def classification_intervals(confidences: ArrayLike, correct: ArrayLike) -> dict[str, Interval]:
    """Return the intervals of `accuracy` and `ece`: the images are drawn with replacement.

    The accuracy has the percentile interval. A resample's ECE is larger than that of the images,
    because fewer different images are in it. So the ECE has the basic interval,
    2·ECE - (quantiles), cut at 0 and 1, which takes this difference away. (The ECE of the images
    is larger than that of infinitely many images for the same reason.) It holds the true ECE less
    often than in 95 %, and least often if that is near 0.

    Args:
        confidences: max p [N], in [0, 1].
        correct: bool [N], whether the image was classified correctly.

    Raises ValueError for no images, or shapes that do not match.
    """
    certain, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=bool)
    if certain.ndim != 1 or not len(certain) or right.shape != certain.shape:
        raise ValueError(
            f"need confidences [N] and correct [N], N of 1 or more, got {list(certain.shape)} and "
            f"{list(right.shape)}"
        )
    gaps, bins, count = right - certain, bin_of(certain), len(certain)

    def ece(images: NDArray) -> float:
        return float(np.abs(np.bincount(bins[images], gaps[images], BINS)).sum() / count)

    rng = np.random.default_rng(SEED)
    draws = [rng.integers(count, size=count) for _ in range(RESAMPLES)]
    low, high = percentile_interval([ece(images) for images in draws])
    own = ece(np.arange(count))
    return {
        "accuracy": percentile_interval([right[images].mean() for images in draws]),
        "ece": (max(0.0, 2 * own - high), min(1.0, 2 * own - low)),
    }


def detection_intervals(in_scores: ArrayLike, out_scores: ArrayLike) -> dict[str, Interval]:
    """Return the percentile intervals of `auroc` and `fpr95_out`, as `detection_metrics` has them.

    In-distribution and OOD images are drawn with replacement, each as many as there are.

    Args:
        in_scores: [N]; higher is more in-distribution.
        out_scores: [M].

    Raises ValueError for what `utils.metrics` refuses.
    """
    inside, outside = checked_scores(in_scores, out_scores)
    # Each score becomes its place among all different scores: a resample is then two histograms,
    # and nothing is sorted again.
    different, places = np.unique(np.concatenate([inside, outside]), return_inverse=True)
    in_places, out_places = places[: len(inside)], places[len(inside) :]
    rng = np.random.default_rng(SEED)
    resampled = [
        _auroc_and_fpr95(
            *(
                np.bincount(part[rng.integers(len(part), size=len(part))], minlength=len(different))
                for part in (in_places, out_places)
            )
        )
        for _ in range(RESAMPLES)
    ]
    auroc, fpr95 = zip(*resampled, strict=True)
    return {"auroc": percentile_interval(auroc), "fpr95_out": percentile_interval(fpr95)}


def _auroc_and_fpr95(in_counts: NDArray, out_counts: NDArray) -> tuple[float, float]:
    """Return AUROC and `fpr95_out` of the numbers of images at each different score, ascending."""
    out_up_to = np.cumsum(out_counts)
    total_in, total_out = in_counts.sum(), out_up_to[-1]
    auroc = in_counts @ (out_up_to - out_counts / 2) / (total_in * total_out)
    # The lowest score at or below which 95 % of the OOD images are.
    place = int(np.searchsorted(out_up_to, rank_at(0.95, int(total_out))))
    return float(auroc), float(in_counts[: place + 1].sum() / total_in)


def percentile_interval(resampled: ArrayLike) -> Interval:
    """Return the interval between the quantiles .025 and .975 of resamples."""
    low, high = np.quantile(np.asarray(resampled), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)
