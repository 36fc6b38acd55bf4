"""KNN, the distance to the k-th nearest training image (Sun et al. 2022, arXiv 2204.06507)."""

import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from .common import features_of
from .contract import FitData, Fitted, NotApplicable, SetOutputs

K = 50  # the paper's for CIFAR-10; it took 200 for CIFAR-100


def fit_knn(known: FitData, k: int | None = None) -> Fitted:
    """Score -‖z - z_(k)‖, z = f/‖f‖, with z_(k) the k-th nearest of the training set's. A feature
    vector of zeros stays one.

    k is 50 if not given, or half of the images that a class has on average if that is less: the
    k-th neighbour of an image that has fewer than k of its class is one of another class, and
    images between classes would seem nearest (our rule). Raises NotApplicable for fewer than k
    training images.
    """
    train = _directions(known.train)
    k = k or max(1, min(K, len(train) // (2 * known.train.outputs["logits"].shape[1])))
    if len(train) < k:
        raise NotApplicable(f"KNN needs {k} training images or more, got {len(train)}")
    neighbours = NearestNeighbors(n_neighbors=k).fit(train.numpy())

    def score(part: SetOutputs) -> Tensor:
        distances, _ = neighbours.kneighbors(_directions(part).numpy())  # nearest first
        return -torch.from_numpy(distances[:, -1])

    return Fitted(score, {"k": k})


def _directions(part: SetOutputs) -> Tensor:
    return F.normalize(features_of(part))
