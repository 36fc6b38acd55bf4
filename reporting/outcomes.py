"""Loads the arrays that figures are drawn from, out of a finished run's files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import confusion_matrix
from tqdm import tqdm

from experiment import predictions, records
from losses import LOSSES, scores

from .runs import Runs, is_from_elsewhere, is_trained, method_of

# Errors that damaged files of a run, or a missing image, can cause.
DAMAGED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


T = TypeVar("T")


def load_each(
    runs: Runs, load: Callable[[Path, dict[str, Any]], T]
) -> tuple[list[tuple[str, T]], dict[str, list[str]]]:
    """Load something of each run.

    Args:
        runs: the records by folder.
        load: a folder and its record to what is wanted; may raise any of `DAMAGED`.

    Returns:
        each run's method with what was loaded; and reason → the runs that could not be loaded.
    """
    loaded: list[tuple[str, T]] = []
    lacking: dict[str, list[str]] = {}
    for folder, record in tqdm(runs.items(), unit=" runs", leave=False, disable=None):
        method = method_of(record)
        try:
            loaded.append((method, load(folder, record)))
        except DAMAGED as error:
            reason = str(error)
            if not isinstance(error, ValueError | OSError):
                reason = f"{folder} is damaged inside ({type(error).__name__})"
            lacking.setdefault(reason, []).append(f"{method} {record['config']['seed']}")
    return loaded, lacking


@dataclass(frozen=True)
class Outcome:
    """A run's record, and its predictions by set: test, the calibration split, OOD sets."""

    record: dict[str, Any]
    correct: NDArray  # bool [N], of the test images
    confusion: NDArray  # int [C, C]: test images of class i that were taken for class j
    ece: dict[str, float]  # "t1" and "calibrated" → ECE of the test images
    predicted: dict[str, NDArray]  # set → class [N]
    # "t1" (of the test images alone) and "calibrated" → set → max p [N]
    confidences: dict[str, dict[str, NDArray]]
    scores: dict[str, NDArray]  # set → the run's own score [N], at the temperature of its table

    @property
    def calibration_scores(self) -> NDArray:
        """Scores of the images that the temperature was fitted to. They give the thresholds."""
        return self.scores[self.record["temperature"]["split"]]


Methods = Mapping[str, Sequence[Outcome]]  # each method's runs


def titles(methods: Methods) -> dict[str, str]:
    """Return the out-of-distribution sets' titles by source, which all runs share."""
    first = next(iter(methods.values()))[0]
    return {source: entry["title"] for source, entry in first.record["detection"].items()}


def load_outcome(folder: Path, record: dict[str, Any]) -> Outcome:
    """Return the outcome of a run.

    Raises ValueError for predictions that are missing, damaged, or not those of the record.
    """
    path = folder / records.PREDICTIONS
    if not path.exists():
        raise ValueError(f"no {records.PREDICTIONS} is kept")
    arrays = predictions.predictions_of(folder, record)
    temperature = float(record["temperature"]["value"])
    sets = dict.fromkeys(("test", record["temperature"]["split"], *record["detection"]))
    score_temperature = 1.0 if record["scores_at"] == "t1" else temperature
    own = {name: _own_score(record, arrays[name], score_temperature) for name in sets}
    if bad := [name for name, values in own.items() if not np.isfinite(values).all()]:
        raise ValueError(
            f"{path}: the scores of {', '.join(bad)} are not all finite: make the run again"
        )
    logits = {name: arrays[name]["logits"].astype(float) for name in sets}
    predicted = {name: values.argmax(1) for name, values in logits.items()}
    labels, classes = arrays["test"]["labels"], np.arange(logits["test"].shape[1])
    metrics = record["classification"]["test"]
    return Outcome(
        record=record,
        correct=predicted["test"] == labels,
        confusion=confusion_matrix(labels, predicted["test"], labels=classes),
        ece={at: float(metrics[at]["ece"]) for at in ("t1", "calibrated")},
        predicted=predicted,
        confidences={
            "t1": {"test": softmax(logits["test"], axis=1).max(1)},
            "calibrated": {
                name: softmax(values / temperature, axis=1).max(1)
                for name, values in logits.items()
            },
        },
        scores=own,
    )


def _own_score(record: dict[str, Any], outputs: dict[str, NDArray], temperature: float) -> NDArray:
    """Return the run's score [N] of a set's named outputs."""
    tensors = {
        name: torch.as_tensor(value).double()
        for name, value in outputs.items()
        if name not in ("labels", "features")
    }
    loss, score = record["config"]["loss"], record["score"]
    if score in tensors:  # of evaluate.py: the file has it
        return tensors[score].numpy()
    if loss in LOSSES and not is_from_elsewhere(record):
        head = LOSSES[loss].head(1, tensors["logits"].shape[1])
        return head.all_scores(tensors, temperature)[score].numpy()
    if is_trained(record):
        named = " ".join(record["config"].get("plugin", ())) or "FILE"
        raise ValueError(f"the loss {loss} is a plugin's: name it with --plugin {named}")
    # An ensemble has no head, nor have outputs of another program.
    return scores.SCORES[score](tensors["logits"] / temperature).numpy()


def load_history(folder: Path, record: dict[str, Any]) -> list[dict[str, float]]:
    """Return a run's accuracy after each epoch: `train_accuracy`, and the calibration split's.

    Raises ValueError if its number of epochs is not the record's.
    """
    names = ("train_accuracy", f"{record['temperature']['split']}_accuracy")
    history = [
        {name: float(epoch[name]) for name in names} for epoch in records.read_epochs(folder)
    ]
    if len(history) != record["config"]["epochs"]:
        raise ValueError(
            f"{folder / records.EPOCHS} has {len(history)} epochs of {record['config']['epochs']}"
        )
    return history
