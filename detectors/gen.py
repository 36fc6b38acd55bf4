"""GEN, the generalized entropy score (Liu et al., CVPR 2023), with the paper's constants."""

from torch import Tensor

from .common import float64
from .contract import FitData, Fitted

GAMMA, LARGEST = 0.1, 100  # γ and M


def gen(logits: Tensor, gamma: float = GAMMA, largest: int = LARGEST) -> Tensor:
    """-Σ p^γ (1 - p)^γ [...] over the M largest p (all, if there are fewer) of p = softmax(ℓ) of
    logits ℓ [..., C].
    """
    p = float64(logits).softmax(-1).sort(-1, descending=True).values
    complement = 1 - p
    # Of the largest p, which rounds to 1, the others' sum: at γ = 0.1 a complement of 1e-20 still
    # counts, 0.01.
    complement[..., 0] = p[..., 1:].sum(-1)
    return -(p * complement)[..., :largest].pow(gamma).sum(-1)


def fit_gen(known: FitData) -> Fitted:
    return Fitted(lambda part: gen(part.outputs["logits"]), {"gamma": GAMMA, "M": LARGEST})
