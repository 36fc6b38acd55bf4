"""GEN, the generalized entropy score (Liu et al., CVPR 2023), with the paper's constants."""

from torch import Tensor

from .common import float64
from .contract import FitData, Fitted

GAMMA = 0.1  # γ
LARGEST = 100  # M


def gen(logits: Tensor) -> Tensor:
    """Return -Σ p^γ (1 - p)^γ [...] for logits ℓ [..., C] and p = softmax(ℓ).

    The sum is over the M largest p, or over all if there are fewer.
    """
    p = float64(logits).softmax(-1).sort(-1, descending=True).values
    complement = 1 - p
    # The largest p may round to 1, so its complement is the sum of the others. At γ = 0.1 even a
    # complement of 1e-20 matters: its power is 0.01.
    complement[..., 0] = p[..., 1:].sum(-1)
    return -(p * complement)[..., :LARGEST].pow(GAMMA).sum(-1)


def fit_gen(data: FitData) -> Fitted:
    """Return the detector whose score is GEN of the logits."""
    return Fitted(lambda images: gen(images.outputs["logits"]), {"gamma": GAMMA, "M": LARGEST})
