"""A run's network: a new one, or the trained one of a finished run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dismax import saved
from losses import get_loss
from models import Network, build_model

from . import records
from .config import RunConfig
from .recipes import RECIPES


def build_network(config: RunConfig, num_classes: int, device: torch.device) -> Network:
    """A new network with the loss's head, changed as the loss asks for; its weights are drawn from
    torch's global generator.
    """
    loss = get_loss(config.loss)
    start = RECIPES[str(config.recipe)].start
    network = loss.wrap(build_model(str(config.model), num_classes, loss.head, start))
    # As the batches are; faster on CPUs and GPUs.
    return network.to(device, memory_format=torch.channels_last)


def refuse_small_images(
    config: RunConfig, network: Network, size: tuple[int, int], device: torch.device
) -> None:
    """Raises ValueError for a (height, width) of which nothing is left where the network makes
    images smaller.
    """
    try:
        with torch.no_grad():
            network.eval().forward_features(torch.zeros(1, 3, *size, device=device))
    except RuntimeError as error:
        if "size" not in str(error):
            raise
        shown = "×".join(map(str, size))
        raise ValueError(
            f"--model {config.model} cannot take images of {shown} pixels: take larger ones, or "
            "another network"
        ) from error
    network.train()


def load_network(folder: Path, device: torch.device) -> nn.Module:
    """A run's trained network, in evaluation mode at its temperature.

    Raises ValueError if the folder does not hold it whole.
    """
    network, _ = saved.load_network(folder / records.MODEL)
    return network.to(device, memory_format=torch.channels_last)
