"""Makes a run out of outputs alone: those of an ensemble, or of another program's model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils import plugins, runtime
from utils.output import print_line

from . import predictions, records
from .evaluation import evaluation_results, temperature_results
from .folder import prepare
from .lock import locked
from .scoring import AllScores, Outputs


def record_outputs(
    folder: Path,
    about: Mapping[str, Any],
    all_scores: AllScores,
    outputs: Mapping[str, Outputs],
    labels: Mapping[str, Tensor],
    roles: Mapping[str, str],
    split: str,
) -> float:
    """Compute the record of a run from its outputs, and write it and the outputs.

    Args:
        folder: of the run; is made.
        about: the record's `config`, `titles`, `recipe`, `score` and `scores_at`, and what else is
            known of the run.
        all_scores: computes all scores of a set's outputs.
        outputs: set → named outputs. Features are kept too.
        labels: set → classes [N], for `test` and `split` at least.
        roles: out-of-distribution set → near, far or very_far.
        split: the set to which the temperature is fitted.

    Returns the accuracy on the test set.
    """
    temperature = temperature_results(outputs[split]["logits"], labels[split])
    known = {name: labels[name] for name in ("test", split)}
    results = evaluation_results(all_scores, outputs, known, roles, temperature["value"])
    record: dict[str, Any] = {
        "format": records.FORMAT,
        **about,
        "temperature": temperature | {"split": split},
        **results,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "plugins": plugins.LOADED,
        "environment": runtime.environment(torch.device("cpu")),
    }
    with locked(folder, wait=60):
        prepare(folder, about["config"])
        predictions.write_predictions(folder, outputs, labels, with_features=True)
        records.write_record(folder / records.METRICS, record)
    for warning in temperature["warnings"]:
        print_line(f"warning: {folder}: {warning}", sys.stderr)
    return results["classification"]["test"]["t1"]["accuracy"]
