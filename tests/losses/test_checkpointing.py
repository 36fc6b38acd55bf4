"""Activation checkpointing, which repeats a forward pass during the backward pass."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from losses import LOSSES
from losses.spectral import bound_convolutions
from tests.heads import B, C, D


class CheckpointedNetwork(nn.Module):
    """A small network that computes its activations again in the backward pass."""

    def __init__(self, name, use_reentrant):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, D))
        bound_convolutions(self.body, 0.1)
        self.classifier = LOSSES[name].head(D, C)
        self.use_reentrant = use_reentrant  # None: no checkpointing

    def forward(self, x):
        for module in (self.body, self.classifier):
            if self.use_reentrant is None:
                x = module(x)
            else:
                x = checkpoint(module, x, use_reentrant=self.use_reentrant)
        return x


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "dismax"])
def test_activation_checkpointing_does_not_count_images_twice(name, use_reentrant):
    results = []
    for mode in (None, use_reentrant):
        network = CheckpointedNetwork(name, mode)
        criterion = LOSSES[name].criterion(network.classifier)
        torch.manual_seed(1)
        targets = torch.arange(B) % C
        for inputs in torch.randn(2, B, 3, 6, 6):
            criterion(network(inputs.requires_grad_()), targets).backward()
            criterion.after_step(network, inputs, targets, torch.zeros(B, C))
        gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
        results.append(
            (gradients, {**network.state_dict(), "classifier.thresholds": torch.zeros(1)})
        )
    torch.testing.assert_close(*results)
