"""Reads and writes a run's predictions.npz: the network's outputs for every image of every set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utils.files import open_regular, whole_file

from .records import PREDICTIONS


def write_predictions(
    folder: Path,
    outputs: Mapping[str, Mapping[str, ArrayLike]],
    labels: Mapping[str, ArrayLike],
    with_features: bool,
) -> None:
    """Write each set's outputs as `SET/OUTPUT` and its labels as `SET/labels`.

    Args:
        folder: the run's folder.
        outputs: set → output → array [N, ...].
        labels: set → int array [N], for the sets that have labels.
        with_features: whether to write the output `features`, which is large.
    """
    arrays: dict[str, Any] = {
        f"{name}/labels": np.asarray(values) for name, values in labels.items()
    }
    for name, set_outputs in outputs.items():
        for output, values in set_outputs.items():
            if output != "features" or with_features:
                arrays[f"{name}/{output}"] = np.asarray(values)
    with whole_file(folder / PREDICTIONS) as path, open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_predictions(folder: Path) -> dict[str, dict[str, NDArray]]:
    """Set → output → array, `labels` among the outputs, from a run's folder.

    Raises ValueError, naming the file, if it is missing or damaged.
    """
    try:
        return read_outputs(folder / PREDICTIONS)
    except ValueError as error:
        raise ValueError(f"{error}: delete its folder, and make the run again") from error


def names_in(folder: Path) -> set[str]:
    """The names `SET/OUTPUT` in a run's predictions.npz, without reading the arrays.

    Raises ValueError, naming the file, if it is missing or damaged.
    """
    path = folder / PREDICTIONS
    try:
        with open_regular(path) as file, np.load(file) as arrays:
            return set(arrays.files)
    except Exception as error:  # as in `read_outputs`
        raise ValueError(f"{path} is missing or damaged ({error}): make the run again") from error


def read_outputs(path: Path) -> dict[str, dict[str, NDArray]]:
    """Set → output → array, `labels` among the outputs, from a file of `write_predictions`.

    Raises ValueError, naming the file, if it is missing or damaged.
    """
    sets: dict[str, dict[str, NDArray]] = {}
    try:
        with open_regular(path) as file, np.load(file) as arrays:
            for key in arrays:
                name, _, output = key.rpartition("/")
                sets.setdefault(name, {})[output] = arrays[key]
    except Exception as error:  # damaged bytes make NumPy raise almost anything, even SyntaxError
        raise ValueError(f"{path} is missing or damaged ({error})") from error
    for name, outputs in sets.items():
        logits = outputs.get("logits", np.zeros(0))
        real = logits.ndim == 2 and logits.dtype.kind == "f" and len(logits) > 0
        if not real or not np.isfinite(logits).all():
            raise ValueError(f"{path}: the logits of {name} are no finite numbers [N, C]")
    return sets


def predictions_of(folder: Path, record: Mapping[str, Any]) -> dict[str, dict[str, NDArray]]:
    """The predictions from which a run's record was computed, as `read_predictions` returns them.

    Raises ValueError, naming the file, if the record was computed from others.
    """
    sets = read_predictions(folder)
    path = folder / PREDICTIONS
    split = record["temperature"]["split"]
    missing = [
        name for name in dict.fromkeys(("test", split, *record["detection"])) if name not in sets
    ]
    for name in ("test", split):
        if "labels" not in sets.get(name, {}):
            missing.append(f"{name}/labels")
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: make the run again")
    if not _match(sets, record):
        raise ValueError(f"{path} is not what its record was made of: make the run again")
    return sets


def _match(sets: Mapping[str, Mapping[str, NDArray]], record: Mapping[str, Any]) -> bool:
    """Whether the numbers of images and the test accuracy are those of the record."""
    for outputs in sets.values():
        if any(values.shape[:1] != outputs["logits"].shape[:1] for values in outputs.values()):
            return False
    test = record["classification"]["test"]
    counts = {name: detection["n"] for name, detection in record["detection"].items()}
    counts["test"] = test["n"]
    if any(len(sets[name]["logits"]) != count for name, count in counts.items()):
        return False
    accuracy = (sets["test"]["logits"].argmax(1) == sets["test"]["labels"]).mean()
    return bool(abs(accuracy - test["t1"]["accuracy"]) < 1e-9)
