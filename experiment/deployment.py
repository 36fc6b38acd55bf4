"""Puts the scores of detectors into a finished run's model.pt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from tabulate import tabulate

from detectors import FitData, SetOutputs
from dismax import saved
from dismax.score import DeployedScore, fit_to_outputs
from losses import LossFirstPart

from . import records
from .finished import FinishedRun
from .lock import locked
from .titles import with_unique_titles

TPR = 0.95  # of the table


def deploy(
    run: FinishedRun, names: Sequence[str], data: FitData, sets: Mapping[str, SetOutputs]
) -> str:
    """Fit these detectors, write them into the run's model.pt, and return a table of the images
    that they accept.

    Args:
        run: a run with a network.
        names: of the detectors.
        data: from `run.outputs`, with features.
        sets: likewise.

    Raises what `fit_to_outputs` raises.
    """
    temperature = run.record["temperature"]["value"]
    scores = [fit_to_outputs(name, data, temperature) for name in names]
    with locked(run.folder, wait=60):
        records.refuse_another(run.folder, run.record)
        saved.add_scores(run.folder / records.MODEL, scores)
    return _table(run, scores, sets, cast(LossFirstPart, data.head))


def _table(
    run: FinishedRun,
    scores: Sequence[DeployedScore],
    sets: Mapping[str, SetOutputs],
    head: LossFirstPart,
) -> str:
    """Return the threshold of each score, and the share of each set that it accepts."""
    detection = with_unique_titles([run.record])[0]["detection"]
    titles = [title["title"] for title in detection.values()]
    rows = []
    for score in scores:
        threshold = score.threshold(TPR)
        shares = [_accepted(score, sets[name], head) for name in ("test", *detection)]
        rows.append([score.name, f"{threshold:.4g}", *(f"{share:.1%}" for share in shares)])
    headers = ["deployed", f"at {TPR:.0%} TPR", "test images accepted", *titles]
    return tabulate(rows, headers, disable_numparse=True)


def _accepted(score: DeployedScore, images: SetOutputs, head: LossFirstPart) -> float:
    """Return the share of images that reach the threshold."""
    return (score.of(images.outputs, head) >= score.threshold(TPR)).double().mean().item()
