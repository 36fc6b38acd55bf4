"""Small heads and batches for the tests of the losses."""

import numpy as np
import torch
from torch import nn

from losses import LOSSES

B, D, C = 12, 5, 4


def build(name, dtype=torch.float64, features=D, classes=C, scale=-1.7):
    """Return a small head of a loss and its criterion."""
    torch.manual_seed(3)
    head = LOSSES[name].head(features, classes).to(dtype)
    with torch.no_grad():
        if name == "isomax":
            head.prototypes.normal_()  # they start at zero
        if getattr(head, "bias", None) is not None:
            head.bias.normal_()  # it starts at zero
        if hasattr(head, "distance_scale"):
            head.distance_scale.fill_(scale)  # only its absolute value matters
    return head, LOSSES[name].criterion(head)


def batch(dtype=torch.float64):
    """Return random features [B, D] and class indices [B]."""
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(B, D, generator=generator, dtype=dtype)
    return features, torch.randint(C, (B,), generator=generator)


def with_changed_batch_norms(head):
    """Return the head with batch norms that differ from their initial values."""
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.constant_(module.weight, 1.3)
            nn.init.constant_(module.bias, -0.4)
            nn.init.constant_(module.running_mean, 0.2)
            nn.init.constant_(module.running_var, 0.7)
    return head


def predicted_scale(module, features, training):
    """Return what `PredictedScale` computes, in numpy."""
    values = (
        features @ module.linear.weight.detach().numpy().T + module.linear.bias.detach().numpy()
    )
    norm = module.norm
    if training:
        mean, variance = values.mean(0), values.var(0)
    else:
        mean, variance = norm.running_mean.numpy(), norm.running_var.numpy()
    normalized = (values - mean) / np.sqrt(variance + norm.eps)
    return normalized * norm.weight.detach().numpy() + norm.bias.detach().numpy()
