"""ODIN (Liang et al. 2018, arXiv 1706.02690): perturbed images, and a high temperature."""

import math

from torch import Tensor

from .common import wide
from .contract import FitData, Fitted
from .perturbation import Epsilon, fit_perturbed

EPSILON = 0.0014  # the usual choice
TEMPERATURE = 1000.0  # the paper's


def fit_odin(
    known: FitData, epsilon: Epsilon = EPSILON, temperature: float = TEMPERATURE
) -> Fitted:
    """Score S = T·log max softmax(ℓ/T) of images perturbed to raise S.

    The paper's score is the maximum itself. Its logarithm has the same order, and still tells
    images apart whose maximum rounds to 1. Gradients fall with 1/T: the factor T keeps them from
    vanishing in half precision. With ε = 0 and T = 1 the score is log MPS.

    The defaults are the usual choice. OpenOOD instead tries ε of {0.0014, 0.0028} and T from 1 to
    1000, and keeps what does best on its validation sets, which hold out-of-distribution images.

    Args:
        known: what the network was trained and calibrated on.
        epsilon: in pixels of [0, 1]; "chosen" chooses it on the deciding images (`choose_epsilon`).
        temperature: T.

    Raises ValueError for an ε outside [0, 1) and a T that is not finite and positive.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is a finite number above 0, got {temperature}")

    def score(inputs: Tensor) -> Tensor:
        return temperature * (wide(known.network(inputs)) / temperature).log_softmax(1).amax(1)

    return fit_perturbed(known, score, epsilon, temperature=temperature)
