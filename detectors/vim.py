"""ViM, virtual-logit matching (Wang et al. 2022, arXiv 2203.10807)."""

import torch
from torch import Tensor

from .common import features_of
from .contract import FitData, Fitted, NotApplicable, SetOutputs
from .energy import energy
from .maxlogit import maxlogit


def principal_dimension(num_features: int) -> int:
    """D', the paper's dimension of the principal subspace for features of a given length."""
    return 1000 if num_features >= 2048 else 512 if num_features >= 768 else num_features // 2


def fit_vim(known: FitData) -> Fitted:
    """Score logsumexp ℓ - α·r, r the length of f - o outside the principal subspace of the training
    set's.

    o = -W⁺b is where the logits are all zero, the subspace that of the D' largest eigenvalues of
    the mean of (f - o)(f - o)ᵀ, and α the training set's mean max ℓ over its mean r. The paper's
    score is p₀, the softmax probability of a virtual logit α·r beside the real ones; this one is
    -log p₀/(1 - p₀), of the same order.

    Raises NotApplicable if the training features leave no r (fewer images than D', or too many
    constant features), and so no α.
    """
    weight = known.head.weight.detach().cpu().double()
    bias = (
        weight.new_zeros(len(weight))
        if known.head.bias is None
        else known.head.bias.detach().cpu().double()
    )
    origin = -torch.linalg.pinv(weight) @ bias
    train = features_of(known.train) - origin
    dimension = principal_dimension(train.shape[1])
    _, vectors = torch.linalg.eigh(train.T @ train / len(train))  # eigenvalues ascend
    residual = vectors[:, : train.shape[1] - dimension]

    length = (train @ residual).norm(dim=1).mean()
    if length <= 1e-7 * train.norm(dim=1).mean():  # float32's rounding
        raise NotApplicable(f"ViM needs training features of more than {dimension} dimensions")
    alpha = maxlogit(known.train.outputs["logits"]).mean() / length

    def score(part: SetOutputs) -> Tensor:
        return energy(part.outputs["logits"]) - alpha * (
            (features_of(part) - origin) @ residual
        ).norm(dim=1)

    return Fitted(score, {"dimension": dimension, "alpha": float(alpha)})
