"""Several scores in one: the sum of the logarithms of their p-values (Fisher's method).

A score of logits tells images that lie between the classes, a score of features those that lie far
from all of them. A user has one threshold. So each score becomes a p-value, which needs no
out-of-distribution images: the share of held-out in-distribution images that score as low or lower
(a conformal p-value: Bates et al. 2023, arXiv 2104.08279). Fisher's method adds their logarithms.
The p-values depend on each other, so the sum has not Fisher's χ² distribution; its threshold is a
percentile on held-out images, as that of every other score.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .common import deployable
from .contract import FitData, Fitted, Score, required
from .mahalanobis import fit_mahalanobis
from .own import fit_own


class Combined(Score):
    """Σ_m log p_m, with p_m = (1 + the number of held-out scores ≤ s_m) / (n + 1).

    Args:
        members: the scores s_m by name.
        held_out: each member's scores of the n held-out images [n].
    """

    def __init__(self, members: Mapping[str, Score], held_out: Mapping[str, Tensor]):
        super().__init__(**{f"held_out_{name}": scores for name, scores in held_out.items()})
        self.members = nn.ModuleDict(members)

    def forward(self, outputs, head):
        total = torch.zeros_like(outputs["logits"][:, 0])
        for name, member in self.members.items():
            scores = member(outputs, head)
            held_out = self.get_buffer(f"held_out_{name}")
            # ONNX has no torch.searchsorted.
            lower = (held_out <= scores[:, None]).sum(1)
            p = (1 + lower.to(scores.dtype)) / (1 + len(held_out))
            total = total + p.log().where(scores.isfinite(), torch.nan)
        return total


def fit_combined(data: FitData) -> Fitted:
    """Return the detector that combines the head's own score with Mahalanobis.

    The calibration images are held out: the members are not fitted to them.
    """
    fitted = {"own": fit_own(data), "mahalanobis": fit_mahalanobis(data)}
    held_out = {name: member(data.calibration) for name, member in fitted.items()}
    members = {name: required(member.deployable, name) for name, member in fitted.items()}
    parameters = {"members": ", ".join(members), "images": len(held_out["own"])}
    return deployable(Combined(members, held_out), data, parameters)
