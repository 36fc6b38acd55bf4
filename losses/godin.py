"""GODIN, generalized ODIN: a decomposed confidence (Hsu et al. 2020, arXiv 2002.11297).

Its input preprocessing is a detector, `detectors/preprocessing.py`.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import in_one_precision
from .contract import LossFirstPart
from .criterion import LossSecondPart
from .directions import cosines
from .geometry import distances
from .predicted_scale import PredictedScale

DROPOUT = 0.7  # rate of "GODIN, dropout"; a guess, since no reference gives it
FORMS = ("inner", "euclidean", "cosine")


class GODINLossFirstPart(LossFirstPart):
    """Head with logits h_j(f)/g(f).

    The divisor g = σ(BN(v·f + b)) in (0, 1) is predicted from the features.

    Named outputs: `logits`, `h` [B, C], `g` [B]. Its score is max h. g is a further score.

    Args:
        num_features: D.
        num_classes: C.
        form: the form of h: "inner" w_j·f + b_j (DeConf-I), "euclidean" -‖f - w_j‖²/D (DeConf-E),
            or "cosine" cos(f, w_j) (DeConf-C). The paper's equation has no 1/D; its reference
            implementations do.
        dropout: share of the features that are set to zero in training, for both h and g.

    Parameters: `weight` w [C, D], from N(0, 2/D), and for "inner" `bias` [C], from 0; `divisor`,
    the divisor's linear map and batch norm.
    """

    score_type = "max h"
    own_scores: ClassVar = {
        "max h": lambda outputs: outputs["h"].amax(-1),
        "g": lambda outputs: outputs["g"],
    }

    def __init__(
        self, num_features: int, num_classes: int, form: str = "cosine", dropout: float = 0.0
    ):
        super().__init__(num_features, num_classes)
        if form not in FORMS:
            raise ValueError(f"form is one of {', '.join(FORMS)}, got {form!r}")
        self.form = form
        self.weight = nn.Parameter(torch.empty(num_classes, num_features))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.bias = nn.Parameter(torch.zeros(num_classes)) if form == "inner" else None
        self.divisor = PredictedScale(num_features)
        self.dropout = nn.Dropout(dropout)

    def options(self) -> dict[str, Any]:
        return {"form": self.form, "dropout": self.dropout.p}

    def raw_outputs(self, features: Tensor) -> dict[str, Tensor]:
        features = self.dropout(features)
        h = self._h(features)
        z = self.divisor(features)
        # 1/σ(z) = 1 + exp(-z). Its gradient stays finite where that of a quotient overflows.
        return {"logits": h * (1 + torch.exp(-z)), "h": h, "g": torch.sigmoid(z).squeeze(1)}

    def _h(self, features: Tensor) -> Tensor:
        if self.form == "cosine":
            return cosines(features, self.weight)
        if self.bias is None:
            return -distances(features, self.weight).square() / self.num_features
        return F.linear(*in_one_precision(features, self.weight, self.bias))


class GODINLossSecondPart(LossSecondPart[GODINLossFirstPart]):
    """Cross-entropy of the logits. The parameters of h are trained without weight decay."""

    def no_decay_parameters(self) -> list[nn.Parameter]:
        head = self.classifier
        return [parameter for parameter in (head.weight, head.bias) if parameter is not None]
