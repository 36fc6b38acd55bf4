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


def build_network(config: RunConfig, num_classes: int, device: torch.device) -> Network:
    """A new network with the loss's head, and with the changes that the loss needs.

    Its weights are drawn from torch's global generator.
    """
    loss = get_loss(config.loss)
    start = RECIPES[config.recipe].start
    network = loss.wrap(build_model(config.model, num_classes, loss.head, start))
    return _to(network, device)


def refuse_small_images(
    config: RunConfig, network: Network, size: tuple[int, int], device: torch.device
) -> None:
    """Raises ValueError if images of this (height, width) are too small for the network."""
    try:
        with torch.no_grad():
            network.eval().forward_features(torch.zeros(1, 3, *size, device=device))
    except RuntimeError as error:
        if "size" not in str(error):
            raise
        raise ValueError(
            f"--model {config.model} cannot take images of {size[0]}×{size[1]} pixels: take larger "
            "ones, or another network"
        ) from error
    network.train()


def load_network(folder: Path, device: torch.device) -> Network:
    """A finished run's network, in evaluation mode, with its fitted temperature.

    Raises ValueError if the folder does not hold a whole network.
    """
    network, _ = saved.load_network(folder / records.MODEL)
    return _to(network, device)


def _to(network: Network, device: torch.device) -> Network:
    """Move a network to a device, in the memory format of the batches, which is faster."""
    # torch's stubs lack this form of `to`.
    return network.to(device, memory_format=torch.channels_last)  # pyrefly: ignore
