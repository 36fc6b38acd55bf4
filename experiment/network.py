"""A run's network: a new one, or the trained one of a finished run."""

from __future__ import annotations

from pathlib import Path

import torch

from dismax import saved
from losses import get_loss
from models import Network, build_model

from . import records
from .config import RunConfig
from .recipes import RECIPES
from .weights import fingerprint, start_from_weights


def build_network(config: RunConfig, num_classes: int, device: torch.device) -> Network:
    """A new network with the loss's head, and with the changes that the loss needs.

    Its weights are drawn from torch's global generator.
    """
    loss = get_loss(config.loss)
    start = RECIPES[config.recipe].start
    network = build_model(config.model, num_classes, loss.head, start)
    if config.weights is not None:
        network.start_note = start_from_weights(config, network)
        network.began_with = fingerprint(network.body)  # before `wrap`, which may add others
    network = loss.wrap(network)
    if config.freeze:
        network.freeze_body()
    return _to(network, device)


def refuse_wrong_size(
    config: RunConfig, network: Network, size: tuple[int, int], device: torch.device
) -> None:
    """Raises ValueError if the network cannot take images of this (height, width)."""
    try:
        with torch.no_grad():
            features = network.eval().forward_features(torch.zeros(1, 3, *size, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:  # libraries assert their sizes
        if isinstance(error, RuntimeError) and "size" not in str(error):
            raise
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"--model {config.model} cannot take images of {size[0]}×{size[1]} pixels ({reason}): "
            "take larger ones, the size that it was made for, or another network"
        ) from error
    if features.shape != (1, network.num_features):
        raise ValueError(
            f"--model {config.model} gives {list(features.shape)} for an image, not "
            f"{network.num_features} features: take another network"
        )
    network.train()


def load_network(folder: Path, device: torch.device) -> Network:
    """A finished run's network, in evaluation mode, with its fitted temperature.

    Raises ValueError if the folder does not hold a whole network.
    """
    network, _ = saved.load_network(folder / records.MODEL, scores=False)
    return _to(network, device)


def _to(network: Network, device: torch.device) -> Network:
    """Move a network to a device, in the memory format of the batches, which is faster."""
    # torch's stubs lack this form of `to`.
    return network.to(device, memory_format=torch.channels_last)  # pyrefly: ignore
