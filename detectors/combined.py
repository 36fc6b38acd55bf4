"""Several scores in one: the sum of the logarithms of their p-values (Fisher's method).

A score of logits tells images that lie between the classes, a score of features those that lie far
from all of them. Which score of features works depends on the network, so there are two of them.
One threshold shall serve. So each score becomes a p-value, which needs no out-of-distribution
images: the share of held-out in-distribution images that score as low or lower (a conformal
p-value: Bates et al. 2023, arXiv 2104.08279). Fisher's method adds their logarithms. The p-values
depend on each other, so the sum does not follow Fisher's χ² distribution; its threshold is a
percentile on the same held-out images. For the threshold, each held-out image is ranked among the
n - 1 others, as a new image is ranked among n. Its rank is still divided by n + 1, so its p-value
is a little lower than a new image's. So the threshold is not too high: new images of the same
distribution reach it at least as often as with any other score.
"""

from dataclasses import replace

import torch
from torch import Tensor

from .common import deployable
from .contract import FitData, Fitted, Score, required
from .knn import default_k, fit_knn
from .mahalanobis import fit_mahalanobis
from .own import fit_own

BANK = 5_000  # training images that KNN compares with


class LogP(Score):
    """log p, with p = (1 + the number of held-out scores ≤ s) / (n + 1) for a score s.

    Args:
        score: s.
        held_out: s of the n held-out images [n].
    """

    score: Score
    held_out: Tensor

    def __init__(self, score: Score, held_out: Tensor):
        super().__init__(score=score, held_out=held_out)

    def forward(self, outputs, head):
        scores = self.score(outputs, head)
        # ONNX has no torch.searchsorted.
        lower = (self.held_out <= scores[:, None]).sum(1)
        return self._log_p(lower, scores)

    def held_out_scores(self):
        # The number of scores ≤ s, without the image's own. NaN is lower than none.
        ordered = self.held_out.nan_to_num(torch.inf).sort().values
        lower = torch.searchsorted(ordered, self.held_out, right=True) - 1
        return self._log_p(lower, self.held_out)

    def _log_p(self, lower: Tensor, scores: Tensor) -> Tensor:
        p = (1 + lower.to(scores.dtype)) / (1 + len(self.held_out))
        return p.log().where(scores.isfinite(), torch.nan)


class Combined(Score):
    """Σ_m log p_m.

    Args:
        members: log p_m by name.
    """

    def __init__(self, **members: LogP):
        super().__init__(**members)

    def forward(self, outputs, head):
        return torch.stack([member(outputs, head) for member in self._members()]).sum(0)

    def held_out_scores(self):
        return torch.stack([member.held_out_scores() for member in self._members()]).sum(0)

    def _members(self) -> list[LogP]:
        return [getattr(self, name) for name in self.names]


def fit_knn_of_sample(data: FitData) -> Fitted:
    """Return KNN with a bank of at most `BANK` training images, and with k reduced in
    the same proportion.

    The whole bank would make a network that is deployed many times larger, and slower.
    """
    train = required(data.train, "training images")
    count = len(train.outputs["features"])
    if count <= BANK:
        return fit_knn(data)
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=torch.Generator().manual_seed(0))[:BANK]] = True
    k = max(1, round(default_k(train) * BANK / count))
    return fit_knn(replace(data, train=train.select(chosen)), k)


def fit_combined(data: FitData) -> Fitted:
    """Return the detector that combines the head's own score with KNN and Mahalanobis.

    The calibration images are held out: the members are not fitted to them.
    """
    fitted = {
        "own": fit_own(data),
        "knn": fit_knn_of_sample(data),
        "mahalanobis": fit_mahalanobis(data),
    }
    members = {
        name: LogP(required(member.deployable, name), member(data.calibration))
        for name, member in fitted.items()
    }
    count = len(required(data.calibration.outputs.get("logits"), "logits"))
    return deployable(Combined(**members), data, {"members": ", ".join(members), "images": count})
