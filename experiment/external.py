"""Reads the outputs of a model that another program ran."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def image_counts(outputs: OutputsBySet, labels: Tensor) -> dict[str, Any]:
    """Return the number of images of each set, and of each class of the test set.

    Args:
        outputs: of the sets.
        labels: of the test images [N].
    """
    classes = outputs["test"]["logits"].shape[1]
    counts = {name: len(values["logits"]) for name, values in outputs.items()}
    return counts | {"each test class": np.bincount(labels, minlength=classes).tolist()}


def refuse_other_images(path: Path, outputs: OutputsBySet, labels: Tensor, run: Path) -> None:
    """Raise ValueError if a file's outputs are of other images than those of a finished run.

    Args:
        path: of the file.
        outputs: of the file.
        labels: of its test images [N].
        run: the folder of the run.
    """
    here = image_counts(outputs, labels)
    record = records.read_record(run / records.METRICS)
    counts = {source: entry["n"] for source, entry in record["detection"].items()}
    counts["test"] = record["classification"]["test"]["n"]
    for name, count in counts.items():
        if (found := here.get(name, count)) != count:
            raise ValueError(
                f"{path} has {found} images of {name}, and {run} has {count}: one table compares "
                "the same images"
            )
    if not (run / records.PREDICTIONS).exists():
        return
    test = predictions.predictions_of(run, record)["test"]
    each_class = np.bincount(test["labels"], minlength=test["logits"].shape[1]).tolist()
    if here["each test class"] != each_class:
        raise ValueError(
            f"{path} has other numbers of classes, or of test images in them, than {run}: one "
            "table compares the same images"
        )


def compare_with_other_seeds(
    folder: Path, path: Path, outputs: OutputsBySet, labels: Tensor, about: Mapping[str, Any]
) -> None:
    """Raise ValueError if a file cannot be one of several seeds of its method.

    The others must have other outputs, the same titles and score, and the same images.

    Args:
        folder: of the seed that is to be recorded; the other seeds are beside it.
        path: of the file.
        outputs: of the file.
        labels: of its test images [N].
        about: what is to be recorded: `config`, `titles` and `score`.
    """
    for other_path in sorted(folder.parent.glob(f"*/{records.METRICS}")):
        run, other = other_path.parent, records.read_record(other_path)
        for field, title in about["titles"].items():
            if other["titles"][field].casefold() != title.casefold():
                raise ValueError(
                    f"{run} has {other['titles'][field]!r}, not {title!r}, though their folders "
                    "have one name: choose another name"
                )
        digests = [each.get("outputs") for each in (other["config"], about["config"])]
        if run == folder:
            raise ValueError(
                f"{folder} has other outputs: name another seed with --seeds, or delete it"
            )
        if digests[0] == digests[1]:
            raise ValueError(f"{run} has these outputs: each seed has outputs of its own")
        if other["score"] != about["score"]:
            raise ValueError(
                f"{run} has the score {other['score']}, this file {about['score']}; all seeds of "
                "a method have the same: choose another --method or --score"
            )
        refuse_other_images(path, outputs, labels, run)
