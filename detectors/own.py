"""The head's own score at temperature 1, as a score that can be deployed beside others."""

from .common import deployable
from .contract import FitData, Fitted, Score, required


class Own(Score):
    """The detection score of the head's paper, at temperature 1."""

    def forward(self, outputs, head):
        return head.scores(outputs, temperature=1)


def fit_own(data: FitData) -> Fitted:
    """Return the detector whose score is the head's own."""
    required(data.head, "the head")
    return deployable(Own(), data)
