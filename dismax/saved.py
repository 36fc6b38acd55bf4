"""Reads a finished run's network from its model.pt."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from . import versions
from .losses import get_loss
from .models import build_model

# Marks a folder in a zip file. torch does not read a part with this mark: its values are whatever
# was in memory.
FOLDER = 0x10
PIXELS = 2**26  # of the largest image that a network may have been trained on: 8,192 × 8,192


def load_network(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a run's model.pt, on the CPU in evaluation mode, and everything else in the
    file.

    Runs no code that the file holds, and takes no more memory than the file is long.

    Raises ValueError if the file is damaged (its checksums are compared), if it is no model.pt, or
    if it is of an earlier version whose weights would give other outputs now; OSError if it cannot
    be read.
    """
    if not Path(path).is_file():  # a pipe would never end
        raise ValueError(f"{path} is no file: a finished run keeps its network there, so name one")
    with open(path, "rb") as file:
        try:
            saved = _read(file)
            changed = versions.other_function(saved["config"])
            network = _built(saved["config"], len(saved["classes"]), saved.pop("state_dict"))
            _check(saved)
        except Exception as error:  # damaged bytes raise almost anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            # Torch's message advises weights_only=False, which is unsafe.
            if isinstance(error, pickle.UnpicklingError):
                reason = "it holds something else than tensors, numbers and names"
            raise ValueError(
                f"{path} is no run's network, or damaged ({reason}): make the run again"
            ) from error
    if changed:
        raise ValueError(
            f"{path}: its weights would give other outputs now ({'; '.join(changed)}): train this "
            "network again"
        )
    return network.eval(), saved


def _read(file: BinaryIO) -> dict[str, Any]:
    """What the file holds."""
    with zipfile.ZipFile(file) as archive:
        for part in archive.infolist():
            if part.compress_type:
                # A small file could unpack to any size.
                raise ValueError("it is compressed, which a run's is not")
            if part.external_attr & FOLDER:
                raise ValueError(f"{part.filename} calls itself a folder")
        if part := archive.testzip():  # torch.load does not compare the checksums
            raise ValueError(f"{part} has a wrong checksum: it changed after it was written")
    file.seek(0)
    saved = torch.load(file, map_location="cpu", weights_only=True)
    if (
        sum(value.nbytes for value in saved["state_dict"].values())
        > os.fstat(file.fileno()).st_size
    ):
        # A stride of 0 repeats one stored number.
        raise ValueError("its weights are larger than the file")
    return saved


def _built(config: Mapping[str, Any], num_classes: int, weights: dict[str, Tensor]) -> nn.Module:
    """The network of a configuration (as JSON) with these weights."""
    loss = get_loss(config["loss"])
    with torch.device("meta"):  # takes no memory until the weights are known to fit
        network = loss.wrap(build_model(config["model"], num_classes, loss.head))
    network.load_state_dict(weights, assign=True)
    network.to(dtype=torch.float32, memory_format=torch.contiguous_format)
    for name, value in network.state_dict().items():
        if not name.endswith("thresholds") and not value.isfinite().all():
            raise ValueError(f"{name} is not finite")
    return network


def _check(saved: Mapping[str, Any]) -> None:
    """Raises ValueError if mean, std, classes or size is missing, or if mean, std, size or margin
    cannot be.
    """
    if missing := {"mean", "std", "classes", "size"} - saved.keys():
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    size, margin = saved["size"], saved.get("margin", 0)
    if len(saved["mean"]) != 3 or len(saved["std"]) != 3:
        raise ValueError("its mean and std are not of 3 channels")
    whole = len(size) == 2 and all(
        type(number) is int and number > 0 for number in (*size, margin + 1)
    )
    if not whole or (size[0] + margin) * (size[1] + margin) > PIXELS:
        raise ValueError(
            f"its images' (height, width) are {size!r:.40} and their margin is {margin!r:.40}"
        )
