"""MaxLogit (Hendrycks et al. 2022, arXiv 1911.11132)."""

from .common import deployable
from .contract import FitData, Fitted, Score


class MaxLogit(Score):
    """max ℓ for logits ℓ."""

    def forward(self, outputs, head):
        return outputs["logits"].amax(1)


def fit_maxlogit(data: FitData) -> Fitted:
    """Return the detector whose score is the largest logit."""
    return deployable(MaxLogit(), data)
