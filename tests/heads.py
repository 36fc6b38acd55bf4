"""Small heads and batches for the tests of the losses."""

import torch

from losses import LOSSES

B, D, C = 12, 5, 4


def build(name, dtype=torch.float64, features=D, classes=C, scale=-1.7):
    torch.manual_seed(3)
    head = LOSSES[name].head(features, classes).to(dtype)
    with torch.no_grad():
        if name == "isomax":
            head.prototypes.normal_()  # away from where they start, so that they differ
        if getattr(head, "bias", None) is not None:
            head.bias.normal_()  # likewise
        if hasattr(head, "distance_scale"):
            head.distance_scale.fill_(scale)  # its absolute value counts
    return head, LOSSES[name].criterion(head)


def batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(B, D, generator=generator, dtype=dtype), torch.randint(
        C, (B,), generator=generator
    )
