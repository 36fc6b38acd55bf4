"""KNN, the distance to the k-th nearest training image (Sun et al. 2022, arXiv 2204.06507)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import deployable, features_of
from .contract import FitData, Fitted, NotApplicable, Score, SetOutputs, required

K = 50  # the paper's value for CIFAR-10; for CIFAR-100 it is 200


class KNN(Score):
    """-‖z - z_(k)‖, with z = f/‖f‖ and its k-th nearest z of the training images.

    In float32, distances have an error of up to 3e-4 (`torch.cdist` multiplies matrices).

    Args:
        bank: z of the training images [N, D].
        k: 1 to N.
    """

    bank: Tensor
    k: int

    def __init__(self, bank: Tensor, k: int):
        super().__init__(bank=bank, k=k)

    def forward(self, outputs, head):
        distances = torch.cdist(F.normalize(outputs["features"]), self.bank)
        return -distances.topk(self.k, largest=False).values[:, -1]


def default_k(train: SetOutputs) -> int:
    """Return k for a training set with "logits": see `fit_knn`."""
    count, num_classes = train.outputs["logits"].shape
    return max(1, min(K, count // (2 * num_classes)))


def fit_knn(data: FitData, k: int | None = None) -> Fitted:
    """Return the detector whose score is `KNN`. A feature vector of zeros stays zero.

    Args:
        data: the training images are used.
        k: by default 50, or half of the mean number of images in a class if that is less (our
            rule). With fewer than k images in its class, an image's k-th neighbour would be one of
            another class, and images between the classes would seem nearest.

    Raises:
        NotApplicable: if there are fewer than k training images.
    """
    train = required(data.train, "training images")
    directions = F.normalize(features_of(train))
    if k is None:
        k = default_k(train)
    if len(directions) < k:
        raise NotApplicable(f"KNN needs {k} training images or more, got {len(directions)}")
    return deployable(KNN(directions, k), data, {"k": k})
