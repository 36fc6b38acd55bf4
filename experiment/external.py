"""Reads the outputs of a model that another program ran."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from . import predictions

IN_SETS = ("test", "validation", "train")  # the other sets are out-of-distribution
Outputs = dict[str, dict[str, Tensor]]  # set → named outputs


def read(path: Path) -> tuple[Outputs, dict[str, Tensor]]:
    """Return a file's outputs by set, and the labels of the sets that have some.

    Raises ValueError, naming the file, if it cannot be evaluated.
    """
    arrays = predictions.read_outputs(path)
    for name, values in arrays.items():
        for output, value in values.items():
            if value.dtype.kind not in "fiu":
                raise ValueError(f"{path}: {name}/{output} holds no numbers, but {value.dtype}")
    labels = {
        name: torch.as_tensor(values.pop("labels"))
        for name, values in arrays.items()
        if "labels" in values and name in IN_SETS
    }
    outputs = {
        name: {output: torch.as_tensor(value) for output, value in values.items()}
        for name, values in arrays.items()
    }
    if "test" not in outputs or "test" not in labels:
        raise ValueError(f"{path} lacks test/logits or test/labels")
    if set(outputs) <= set(IN_SETS):
        raise ValueError(f"{path} has no out-of-distribution set: add SET/logits")
    classes = outputs["test"]["logits"].shape[1]
    for name, values in outputs.items():
        _check_set(f"{path}: {name}", values, labels.get(name), classes)
    return outputs, labels


def _check_set(
    place: str, outputs: Mapping[str, Tensor], labels: Tensor | None, classes: int
) -> None:
    """Raises ValueError for outputs or labels that do not fit together."""
    count, found = outputs["logits"].shape
    if found != classes:
        raise ValueError(f"{place}/logits has {found} classes, test/logits {classes}")
    for name, value in outputs.items():
        if len(value) != count:
            raise ValueError(f"{place}/{name} has {len(value)} rows, its logits {count}")
    if labels is None:
        return
    if labels.shape != (count,) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{place}/labels are {count} whole numbers, got {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{place}/labels are classes in 0 to {classes - 1}, got {int(labels.min())} to "
            f"{int(labels.max())}"
        )
