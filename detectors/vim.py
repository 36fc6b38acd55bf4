"""ViM, virtual-logit matching (Wang et al. 2022, arXiv 2203.10807)."""

from typing import cast

import torch
from torch import Tensor, nn

from .common import deployable, features_of, float64
from .contract import FitData, Fitted, NotApplicable, Score, required


def principal_dimension(num_features: int) -> int:
    """Return D', the paper's dimension of the principal subspace, for a number of features."""
    if num_features >= 2048:
        return 1000
    if num_features >= 768:
        return 512
    return num_features // 2


class ViM(Score):
    """logsumexp ℓ - α·r, with r = ‖(f - o)ᵀ R‖.

    Args:
        origin: o [D].
        residual: R [D, D - D'], orthonormal vectors outside the principal subspace.
        alpha: α.
    """

    origin: Tensor
    residual: Tensor
    alpha: float

    def __init__(self, origin: Tensor, residual: Tensor, alpha: float):
        super().__init__(origin=origin, residual=residual, alpha=alpha)

    def forward(self, outputs, head):
        lengths = ((outputs["features"] - self.origin) @ self.residual).norm(dim=1)
        return outputs["logits"].logsumexp(1) - self.alpha * lengths


def fit_vim(data: FitData) -> Fitted:
    """Return the detector whose score is logsumexp ℓ - α·r.

    r is the length of the part of f - o that is outside the principal subspace of the training
    features. All logits are zero at o = -W⁺b. The subspace belongs to the D' largest eigenvalues of
    the mean of (f - o)(f - o)ᵀ over the training set. α is the training set's mean max ℓ divided by
    its mean r. The paper's score is p₀, the softmax probability of a virtual logit α·r beside the
    real ones. This score is -log p₀/(1 - p₀), which has the reverse order: higher is more
    in-distribution.

    Raises:
        NotApplicable: if r is zero for the training features (fewer images than D', or too many
            constant features), so that there is no α.
    """
    head = cast(nn.Linear, required(data.head, "the head"))
    train = required(data.train, "training images")
    weight = float64(head.weight)
    bias = weight.new_zeros(len(weight)) if head.bias is None else float64(head.bias)
    origin = -torch.linalg.pinv(weight) @ bias
    centred = features_of(train) - origin
    dimension = principal_dimension(centred.shape[1])
    # The eigenvalues are in ascending order.
    _, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    residual = vectors[:, : centred.shape[1] - dimension]

    length = (centred @ residual).norm(dim=1).mean()
    if length <= 1e-7 * centred.norm(dim=1).mean():  # the rounding error of float32
        raise NotApplicable(
            f"ViM needs training features of more than {dimension} dimensions, those of "
            f"{len(centred)} images have fewer: take more images"
        )
    alpha = float(float64(train.outputs["logits"]).amax(1).mean() / length)
    score = ViM(origin, residual, alpha)
    return deployable(score, data, {"dimension": dimension, "alpha": alpha})
