"""KNN, the distance to the k-th nearest training image (Sun et al. 2022, arXiv 2204.06507)."""

import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from .common import features_of
from .contract import FitData, Fitted, NotApplicable, SetOutputs, required

K = 50  # the paper's value for CIFAR-10; for CIFAR-100 it is 200


def fit_knn(data: FitData, k: int | None = None) -> Fitted:
    """Return the detector whose score is -‖z - z_(k)‖, with z = f/‖f‖.

    z_(k) is the k-th nearest z of the training images. A feature vector of zeros stays zero.

    Args:
        data: the training images are used.
        k: by default 50, or half of the mean number of images in a class if that is less (our
            rule). With fewer than k images in its class, an image's k-th neighbour would be one of
            another class, and images between the classes would seem nearest.

    Raises:
        NotApplicable: if there are fewer than k training images.
    """
    train = required(data.train, "training images")
    directions = _directions(train)
    if k is None:
        num_classes = train.outputs["logits"].shape[1]
        k = max(1, min(K, len(directions) // (2 * num_classes)))
    if len(directions) < k:
        raise NotApplicable(f"KNN needs {k} training images or more, got {len(directions)}")
    neighbours = NearestNeighbors(n_neighbors=k).fit(directions.numpy())

    def score(images: SetOutputs) -> Tensor:
        distances, _ = neighbours.kneighbors(_directions(images).numpy())  # nearest first
        return -torch.from_numpy(distances[:, -1])

    return Fitted(score, {"k": k})


def _directions(images: SetOutputs) -> Tensor:
    """Return features of length 1."""
    return F.normalize(features_of(images))
