"""Input pre-processing for the head's own score (Hsu et al. 2020, arXiv 2002.11297).

It is ODIN's pre-processing, for any score, with ε chosen without OOD data.
"""

from torch import Tensor

from .common import wide
from .contract import FitData, Fitted, required
from .perturbation import Epsilon, fit_perturbed


def fit_preprocessing(data: FitData, epsilon: Epsilon = "chosen") -> Fitted:
    """Return the detector whose score is the head's own score of perturbed images.

    The images are perturbed so that the score increases. ε is for pixels in [0, 1]; "chosen"
    chooses it on the calibration split (`choose_epsilon`). Raises ValueError for an ε outside
    [0, 1).
    """
    network = required(data.network, "the network")

    def score(inputs: Tensor) -> Tensor:
        outputs = network.classifier.named_outputs(network.forward_features(inputs))
        # In float64, since for a confident image the maximum probability in float32 is 1, which has
        # no gradient.
        return network.classifier.scores({name: wide(output) for name, output in outputs.items()})

    return fit_perturbed(data, score, epsilon)
