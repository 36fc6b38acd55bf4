"""The head's own score, as a score that can be deployed beside others."""

from .common import deployable
from .contract import FitData, Fitted, Score, required


class Own(Score):
    """The detection score of the head's paper.

    Args:
        temperature: what the logits are divided by.
    """

    temperature: float

    def __init__(self, temperature: float = 1.0):
        super().__init__(temperature=temperature)

    def forward(self, outputs, head):
        return head.scores(outputs, temperature=self.temperature)


def fit_own(data: FitData) -> Fitted:
    """Return the detector whose score is the head's own, at temperature 1."""
    required(data.head, "the head")
    return deployable(Own(), data)
