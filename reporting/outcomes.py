"""What a finished run kept, as the arrays that figures are drawn from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from experiment import predictions, records
from losses import LOSSES, scores


@dataclass(frozen=True)
class Outcome:
    """One run: its record, and for each set (test, the one that decided, out-of-distribution ones)
    a number an image.
    """

    record: dict[str, Any]
    correct: NDArray  # bool [N]: of the test images
    confidences: dict[str, NDArray]  # max p of the test images, at "t1" and "calibrated"
    ece: dict[str, float]  # of the test images, likewise
    predicted: dict[str, NDArray]  # set → class
    certainty: dict[str, NDArray]  # set → calibrated max p
    # Set → the run's own score, at the temperature at which its table shows it.
    scores: dict[str, NDArray]

    @property
    def deciding(self) -> NDArray:
        """The scores of the images that thresholds are taken from: those that fitted the
        temperature.
        """
        return self.scores[self.record["temperature"]["split"]]


def load_outcome(folder: Path, record: dict[str, Any]) -> Outcome:
    """Read what a run kept.

    Raises ValueError for what is missing, damaged, or not what the record was made of.
    """
    if not (folder / records.PREDICTIONS).exists():
        raise ValueError(f"no {records.PREDICTIONS} is kept")
    kept, temperature = (
        predictions.predictions_of(folder, record),
        float(record["temperature"]["value"]),
    )
    wanted = dict.fromkeys(("test", record["temperature"]["split"], *record["detection"]))
    at = 1.0 if record["scores_at"] == "t1" else temperature
    test, judged = kept["test"]["logits"].astype(float), record["classification"]["test"]
    found = {name: _own_score(record, kept[name], at) for name in wanted}
    if odd := [name for name, values in found.items() if not np.isfinite(values).all()]:
        raise ValueError(
            f"{folder / records.PREDICTIONS}: the scores of {', '.join(odd)} are not all finite: "
            "make the run again"
        )
    certainty = {
        name: softmax(kept[name]["logits"].astype(float) / temperature, axis=1).max(1)
        for name in wanted
    }
    return Outcome(
        record,
        test.argmax(1) == kept["test"]["labels"],
        {"t1": softmax(test, axis=1).max(1), "calibrated": certainty["test"]},
        {at: float(judged[at]["ece"]) for at in ("t1", "calibrated")},
        {name: kept[name]["logits"].argmax(1) for name in wanted},
        certainty,
        found,
    )


def _own_score(record: dict[str, Any], outputs: dict[str, NDArray], temperature: float) -> NDArray:
    """The run's score [N] of a set's named outputs."""
    given = {
        name: torch.as_tensor(value).double()
        for name, value in outputs.items()
        if name not in ("labels", "features")
    }
    loss, score = record["config"]["loss"], record["score"]
    if loss in LOSSES:
        head = LOSSES[loss].head(1, given["logits"].shape[1])
        return head.all_scores(given, temperature)[score].numpy()
    return np.asarray(scores.SCORES[score](given["logits"] / temperature))  # an ensemble's


def load_history(folder: Path, record: dict[str, Any]) -> list[dict[str, float]]:
    """A run's accuracy after each epoch: `train_accuracy`, and that of the split that decided.
    Raises ValueError for one that is not the record's."""
    epochs, wanted = (
        records.read_epochs(folder),
        ("train_accuracy", f"{record['temperature']['split']}_accuracy"),
    )
    history = [{name: float(epoch[name]) for name in wanted} for epoch in epochs]
    if len(history) != record["config"]["epochs"]:
        raise ValueError(
            f"{folder / records.EPOCHS} has {len(history)} epochs of {record['config']['epochs']}"
        )
    return history
