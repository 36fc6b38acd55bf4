"""Reads the outputs of a model that another program ran."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from losses.scores import SCORES

from . import predictions, records

IN_SETS = ("test", "validation", "train")  # the other sets are out-of-distribution
GIVEN = "score"  # the score that a file has beside the logits
OutputsBySet = dict[str, dict[str, Tensor]]  # set → named outputs


def read(path: Path) -> tuple[OutputsBySet, dict[str, Tensor]]:
    """Return a file's outputs by set, and the labels of the sets that have some.

    Raises ValueError, naming the file, if it cannot be evaluated.
    """
    arrays = predictions.read_outputs(path)
    outputs = {
        name: {
            output: _numbers(f"{path}: {name}/{output}", value) for output, value in values.items()
        }
        for name, values in arrays.items()
    }
    labels = {
        name: values.pop("labels")
        for name, values in outputs.items()
        if "labels" in values and name in IN_SETS
    }
    if "test" not in outputs or "test" not in labels:
        raise ValueError(f"{path} lacks test/logits or test/labels")
    if set(outputs) <= set(IN_SETS):
        raise ValueError(f"{path} has no out-of-distribution set: add SET/logits")
    classes = outputs["test"]["logits"].shape[1]
    for name, values in outputs.items():
        _check_set(f"{path}: {name}", values, labels.get(name), classes)
    widths = {values["features"].shape[1] for values in outputs.values() if "features" in values}
    if len(widths) > 1:
        raise ValueError(f"{path}: the sets' features differ in their width: {sorted(widths)}")
    return outputs, labels


def _numbers(place: str, array: NDArray) -> Tensor:
    """Return an array as a tensor; whole numbers as int64.

    Raises ValueError for what is no number, or one that PyTorch does not know.
    """
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise ValueError(
            f"{place} holds no numbers, but {array.dtype}: save float32, float64 or whole numbers"
        )
    native = array.astype(np.int64 if array.dtype.kind in "iu" else array.dtype.newbyteorder("="))
    return torch.as_tensor(native)


def _check_set(
    place: str, outputs: Mapping[str, Tensor], labels: Tensor | None, classes: int
) -> None:
    """Raises ValueError for outputs or labels that do not fit together."""
    count, found = outputs["logits"].shape
    if found != classes:
        raise ValueError(f"{place}/logits has {found} classes, test/logits {classes}")
    for name, value in outputs.items():
        rows = len(value) if value.ndim else "no"
        if rows != count:
            raise ValueError(f"{place}/{name} has {rows} rows, its logits {count}")
        dimensions = {"score": 1, "features": 2}.get(name, value.ndim)
        if value.ndim != dimensions:
            shape = "[N]" if dimensions == 1 else "[N, D]"
            raise ValueError(f"{place}/{name} is {shape}, got {list(value.shape)}")
        if not value.isfinite().all():
            raise ValueError(f"{place}/{name} is not finite everywhere")
    if labels is None:
        return
    if labels.shape != (count,) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            f"{place}/labels are {count} whole numbers, got {labels.dtype} {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{place}/labels are classes in 0 to {classes - 1}, got {int(labels.min())} to "
            f"{int(labels.max())}"
        )


def all_scores(outputs: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """Return the scores [N] of named outputs by name, as the `all_scores` of a head does."""
    logits = outputs["logits"] / temperature
    scores = {name: score(logits) for name, score in SCORES.items()}
    return scores | ({GIVEN: outputs[GIVEN]} if GIVEN in outputs else {})


def score_of(wanted: str | None, path: Path, outputs: OutputsBySet) -> str:
    """Return the name of the method's own score. Raises ValueError if a set of the file lacks it.

    Args:
        wanted: the score's name; None is that of the file if one set has it, else MPS.
        path: of the file.
        outputs: of the file.
    """
    lacking = [name for name, values in outputs.items() if GIVEN not in values]
    score = wanted or ("MPS" if len(lacking) == len(outputs) else GIVEN)
    if score == GIVEN and (lacking := [name for name in lacking if name != "train"]):
        raise ValueError(f"{path} lacks {lacking[0]}/score: every set needs it, or none")
    return score


def compare_with_other_seeds(folder: Path, score: str, digest: str) -> None:
    """Raise ValueError if another seed of the method has another own score, or the same outputs.

    Args:
        folder: of the seed that is to be recorded; the other seeds are beside it.
        score: the name of the method's own score.
        digest: SHA-256 of the file of outputs.
    """
    for path in sorted(folder.parent.glob(f"*/{records.METRICS}")):
        if path.parent == folder:
            continue
        other = records.read_record(path)
        if other["config"].get("outputs") == digest:
            raise ValueError(f"{path.parent} has these outputs: each seed has outputs of its own")
        if other["score"] != score:
            raise ValueError(
                f"{path.parent} has the score {other['score']}, this file {score}; all seeds of "
                "a method have the same: choose another --method or --score"
            )
