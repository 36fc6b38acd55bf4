"""ODIN (Liang et al. 2018, arXiv 1706.02690), its ε chosen without OOD data (Hsu et al. 2020, arXiv 2002.11297)."""

import math

from torch import Tensor

from .common import wide
from .contract import Fitted, Known
from .perturbation import fit_perturbed

TEMPERATURE = 1000.0  # the paper's


def fit_odin(known: Known, epsilon: float | None = None, temperature: float = TEMPERATURE) -> Fitted:
    """Score S = T·log max softmax(ℓ/T) of images perturbed to raise S. ε is in pixels of [0, 1], chosen if None.

    The paper's score is the maximum itself. The logarithm has its order, and distinguishes where it rounds to 1; T as a factor
    keeps gradients, which fall with 1/T, from vanishing in half precision. With ε = 0 and T = 1 it is log MPS.

    Raises ValueError for an ε outside [0, 1) and a T that is not finite and positive.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is a finite number above 0, got {temperature}")

    def score(inputs: Tensor) -> Tensor:
        return temperature * (wide(known.network(inputs)) / temperature).log_softmax(1).amax(1)

    return fit_perturbed(known, score, epsilon, temperature=temperature)
