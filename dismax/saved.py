"""A finished run's network: writes and reads its model.pt."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import archive, versions
from .losses import get_loss
from .models import build_model

# Pixels of the largest image that a network may have been trained on: 8,192 × 8,192.
PIXELS = 2**26


def save_network(
    path: Path,
    network: nn.Module,
    config: Mapping[str, Any],
    classes: Sequence[str],
    size: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    margin: int,
) -> None:
    """Write a calibrated network, and everything that is needed to use it, as model.pt.

    Args:
        path: the file.
        network: the network with its calibrated head.
        config: the run's configuration as JSON. The network is rebuilt from it.
        classes: the names of the classes.
        size: (height, width) of the images.
        mean: of each channel, for pixels in [0, 1].
        std: of each channel, for pixels in [0, 1].
        margin: by how many pixels images are resized larger before they are cropped to `size`.
    """
    content = {
        "config": dict(config),
        "classes": list(classes),
        "size": list(size),
        "mean": list(mean),
        "std": list(std),
        "margin": margin,
        "state_dict": network.state_dict(),
    }
    archive.save(path, content)


def load_network(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a model.pt.

    Runs no code that the file holds, and takes no more memory than the file is long.

    Returns:
        the network, on the CPU in evaluation mode, and everything else in the file.

    Raises ValueError if the file is damaged or no model.pt, or if its weights would give other
    outputs in this version; OSError if it cannot be read.
    """
    if not Path(path).is_file():  # a pipe would never end
        raise ValueError(f"{path} is no file: a finished run keeps its network there, so name one")
    with open(path, "rb") as file:
        try:
            content = archive.load(file)
            weights = content.pop("state_dict")
            if sum(value.nbytes for value in weights.values()) > os.fstat(file.fileno()).st_size:
                # A stride of 0 repeats one stored number.
                raise ValueError("its weights are larger than the file")
            changes = versions.other_function(content["config"])
            network = _built(content["config"], len(content["classes"]), weights)
            _check(content)
        except Exception as error:  # damaged bytes raise almost anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            # torch's own message advises weights_only=False, which is unsafe.
            if isinstance(error, pickle.UnpicklingError):
                reason = "it holds something else than tensors, numbers and names"
            raise ValueError(
                f"{path} is no run's network, or damaged ({reason}): make the run again"
            ) from error
    if changes:
        raise ValueError(
            f"{path}: its weights would give other outputs now ({'; '.join(changes)}): train this "
            "network again"
        )
    return network.eval(), content


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
