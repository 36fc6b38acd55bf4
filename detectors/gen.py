"""GEN, the generalized entropy score (Liu et al., CVPR 2023), with the paper's constants."""

import torch

from .common import deployable
from .contract import FitData, Fitted, Score

GAMMA = 0.1  # γ
LARGEST = 100  # M


class GEN(Score):
    """-Σ p^γ (1 - p)^γ for p = softmax(ℓ) of logits ℓ.

    The sum is over the M largest p, or over all if there are fewer.
    """

    def forward(self, outputs, head):
        p = outputs["logits"].softmax(1).sort(1, descending=True).values
        # The largest p may round to 1, so its complement is the sum of the others. At γ = 0.1 even
        # a complement of 1e-20 matters: its power is 0.01.
        complement = torch.cat([p[:, 1:].sum(1, keepdim=True), 1 - p[:, 1:]], 1)
        return -(p * complement)[:, :LARGEST].pow(GAMMA).sum(1)


def fit_gen(data: FitData) -> Fitted:
    """Return the detector whose score is GEN of the logits."""
    return deployable(GEN(), data, {"gamma": GAMMA, "M": LARGEST})
