"""Input pre-processing for the head's own score (Hsu et al. 2020, arXiv 2002.11297): ODIN's for any
score, without OOD data.
"""

from torch import Tensor

from .common import wide
from .contract import FitData, Fitted
from .perturbation import Epsilon, fit_perturbed


def fit_preprocessing(known: FitData, epsilon: Epsilon = "chosen") -> Fitted:
    """The head's own score of images perturbed to raise it.

    ε is in pixels of [0, 1]; "chosen" chooses it on the deciding images (`choose_epsilon`).
    Raises ValueError for an ε outside [0, 1).
    """
    classifier = known.network.classifier

    def score(inputs: Tensor) -> Tensor:
        outputs = classifier.named_outputs(known.network.forward_features(inputs))
        # float64, since of a sure image the maximum probability is 1 in float32, without a
        # gradient.
        return classifier.scores({name: wide(output) for name, output in outputs.items()})

    return fit_perturbed(known, score, epsilon)
