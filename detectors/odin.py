"""ODIN (Liang et al. 2018, arXiv 1706.02690): perturbed images and a high temperature."""

import math

from torch import Tensor

from .common import wide
from .contract import FitData, Fitted, required
from .perturbation import Epsilon, fit_perturbed

EPSILON = 0.0014  # the common choice
TEMPERATURE = 1000.0  # the paper's value


def fit_odin(data: FitData, epsilon: Epsilon = EPSILON, temperature: float = TEMPERATURE) -> Fitted:
    """Return the detector whose score is S = T·log max softmax(ℓ/T) of perturbed images.

    The images are perturbed so that S increases. The paper's score is the maximum itself. Its
    logarithm has the same order, and still distinguishes images whose maximum rounds to 1.
    Gradients are proportional to 1/T; the factor T keeps them from vanishing in half precision.
    With ε = 0 and T = 1 the score is log MPS.

    The default constants are the common choice. OpenOOD instead tries ε of {0.0014, 0.0028} and T
    from 1 to 1000, and takes the best values on its validation sets, which contain
    out-of-distribution images.

    Args:
        data: the network and, for "chosen", the calibration split are used.
        epsilon: ε, for pixels in [0, 1]; "chosen" chooses it on the calibration split
            (`choose_epsilon`).
        temperature: T.

    Raises:
        ValueError: if ε is outside [0, 1), or T is not finite and positive.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is a finite number above 0, got {temperature}")

    network = required(data.network, "the network")

    def score(inputs: Tensor) -> Tensor:
        return temperature * (wide(network(inputs)) / temperature).log_softmax(1).amax(1)

    return fit_perturbed(data, score, epsilon, temperature=temperature)
