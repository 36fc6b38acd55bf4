"""Selective classification: how well a score refuses the images on which a classifier fails.

An image is accepted if its score is high. A wrong answer that is accepted is a failure. So is an
out-of-distribution (OOD) image that is accepted, whatever the answer.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metrics import detection_metrics

# The label of each of the `misclassification_metrics` in tables, in which it is in percent.
LABELS = {"aurc": "AURC %", "auroc": "AUROC-f %", "fpr95": "FPR@95-f %"}


def risk_coverage(scores: ArrayLike, failures: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return the risk-coverage curve (El-Yaniv & Wiener 2010, Geifman & El-Yaniv 2017).

    Images are accepted in the order of their scores, the highest first. Equal scores are accepted
    in a random order, and the risk is its expected value over all such orders.

    Args:
        scores: [N]; higher is accepted first.
        failures: [N], whether it is a failure to accept the image.

    Returns:
        the coverages [N], which are the accepted shares 1/N, 2/N, ..., 1; and the risk [N] at each,
        the share of failures among the accepted images.

    Raises ValueError for no images, for shapes that differ, and for scores that are not finite.
    """
    values, failed = np.asarray(scores, dtype=np.float64), np.asarray(failures, dtype=bool)
    if values.ndim != 1 or not len(values) or failed.shape != values.shape:
        raise ValueError(
            f"need scores [N] and failures [N], N of 1 or more, got {list(values.shape)} and "
            f"{list(failed.shape)}"
        )
    if not np.isfinite(values).all():
        raise ValueError("the scores are not all finite")
    order = np.argsort(-values)
    values, failed = values[order], failed[order]
    # How many images are accepted after each group of equal scores.
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]) + 1, len(values))
    accepted = np.arange(1, len(values) + 1)
    # Within a group the expected number of failures grows by the same amount with each image.
    expected = np.interp(accepted, [0, *ends], [0, *np.cumsum(failed)[ends - 1]])
    return accepted / len(values), expected / accepted


def aurc(scores: ArrayLike, failures: ArrayLike) -> float:
    """The area under the risk-coverage curve: the mean risk over the coverages k/N, k = 1 ... N.

    Lower is better. (Geifman, Uziel & El-Yaniv 2019.) The arguments are those of `risk_coverage`.
    """
    return float(risk_coverage(scores, failures)[1].mean())


def ood_risk_coverage(
    in_scores: ArrayLike, wrong: ArrayLike, out_scores: ArrayLike
) -> tuple[NDArray, NDArray]:
    """The `risk_coverage` of in-distribution and OOD images together. Failures are wrong answers
    and all OOD images (Jaeger et al. 2023, arXiv 2211.15259).

    Every image counts the same, so it depends on the numbers of images.

    Args:
        in_scores: [N]; higher is accepted first.
        wrong: [N], whether the in-distribution image is classified wrong.
        out_scores: [M]; M is 0 for wrong answers alone.

    Raises what `risk_coverage` raises.
    """
    outside = np.asarray(out_scores)
    failures = np.concatenate([np.asarray(wrong, dtype=bool), np.ones(outside.shape, dtype=bool)])
    return risk_coverage(np.concatenate([np.asarray(in_scores), outside]), failures)


def ood_aurc(in_scores: ArrayLike, wrong: ArrayLike, out_scores: ArrayLike) -> float:
    """The mean risk of `ood_risk_coverage`."""
    return float(ood_risk_coverage(in_scores, wrong, out_scores)[1].mean())


def misclassification_metrics(scores: ArrayLike, wrong: ArrayLike) -> dict[str, float | None]:
    """Return how well a score tells right from wrong answers to in-distribution images.

    Args:
        scores: [N]; higher is accepted first.
        wrong: [N], whether the image is classified wrong.

    Returns, each in [0, 1]:
        aurc: the AURC with wrong answers as failures.
        auroc: the probability that a right answer scores above a wrong one; a tie counts half
            (AUROC-f of Jaeger et al. 2023).
        fpr95: the share of wrong answers that are accepted at the highest threshold that accepts at
            least 95 % of the right answers (Corbière et al. 2019).
        The last two are None if all answers are right, or all wrong.

    Raises what `risk_coverage` raises.
    """
    area = aurc(scores, wrong)
    values, failed = np.asarray(scores), np.asarray(wrong, dtype=bool)
    if failed.all() or not failed.any():
        return {"aurc": area, "auroc": None, "fpr95": None}
    found = detection_metrics(values[~failed], values[failed])
    return {"aurc": area, "auroc": found["auroc"], "fpr95": found["fpr95_in"]}
