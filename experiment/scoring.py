"""The metrics of scores."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from losses.contract import Outputs
from utils.failures import misclassification_metrics, ood_aurc
from utils.metrics import detection_metrics

AllScores = Callable[[Outputs, float], dict[str, Tensor]]  # outputs, temperature → scores [N]


def score_results(
    all_scores: AllScores,
    in_outputs: Outputs,
    labels: Tensor,
    ood_outputs: Mapping[str, Outputs],
    temperatures: Mapping[str, float],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics of all scores.

    Args:
        all_scores: computes all scores, such as a head's method `all_scores`.
        in_outputs: outputs for the in-distribution images.
        labels: their classes [N].
        ood_outputs: set → outputs for its images.
        temperatures: name → temperature.

    Returns:
        temperature's name → score → `misclassification_metrics`, and
        out-of-distribution set → temperature's name → score → `score_metrics`.
    """

    def scores_of(outputs: Outputs, temperature: float) -> dict[str, Tensor]:
        # In float64, fewer of the largest probabilities round to 1 and tie.
        values = {name: value.double() for name, value in outputs.items() if name != "features"}
        return all_scores(values, temperature)

    wrong = in_outputs["logits"].argmax(1) != labels
    misclassification: dict[str, Any] = {}
    detection: dict[str, dict[str, Any]] = {source: {} for source in ood_outputs}
    for name, temperature in temperatures.items():
        in_scores = scores_of(in_outputs, temperature)
        misclassification[name] = {
            score: misclassification_metrics(values, wrong) for score, values in in_scores.items()
        }
        for source, outputs in ood_outputs.items():
            ood_scores = scores_of(outputs, temperature)
            detection[source][name] = {
                score: score_metrics(values, wrong, ood_scores[score])
                for score, values in in_scores.items()
            }
    return misclassification, detection


def score_metrics(in_scores: Tensor, wrong: Tensor, ood_scores: Tensor) -> dict[str, float]:
    """The `detection_metrics` of a score, and `aurc`: failures are wrong answers and all
    out-of-distribution images.

    Args:
        in_scores: [N].
        wrong: bool [N], whether the in-distribution image is classified wrong.
        ood_scores: [M].
    """
    return detection_metrics(in_scores, ood_scores) | {
        "aurc": ood_aurc(in_scores, wrong, ood_scores)
    }
