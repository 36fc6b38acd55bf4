"""Small networks and sets of images for the tests of the detectors."""

from copy import deepcopy
from functools import cache

import torch
from torch import nn

from detectors import FitData, SetOutputs
from losses import LOSSES
from models import build_model

MEAN = (0.4, 0.5, 0.6)
STD = (0.2, 0.3, 0.25)
C = 4  # classes


def seeded_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network_set(network, seed, images):
    """Return a network's outputs for random images of random colours, in batches of 50.

    The label of an image depends on whether red is strong and whether green is.
    """
    colours = torch.rand(images, 3, 1, 1, generator=seeded_generator(seed + 100))
    pixels = (
        torch.rand(images, 3, 8, 8, generator=seeded_generator(seed)) + 2 * colours - 1
    ).clamp(0, 1)
    inputs = (pixels - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
    inputs = inputs.to(next(network.parameters()).dtype)
    with torch.no_grad():
        features = network.forward_features(inputs)
        outputs = {"features": features, **network.classifier.named_outputs(features)}
    red, green, _ = (colours.flatten(1) > 0.5).T
    return SetOutputs(outputs, lambda: inputs.split(50), 2 * red + 1 * green)


def head_maker(loss):
    """Return a function that makes a loss's head with different logits for its classes."""

    def make(features, classes):
        head = LOSSES[loss].head(features, classes)
        if loss == "isomax":
            # The prototypes start at zero, where all logits are equal.
            nn.init.normal_(head.prototypes)
        return head

    return make


def untrained_data(loss="softmax", dtype=torch.float32):
    """Return the fit data of a tiny untrained network."""
    torch.manual_seed(1)
    network = build_model("smallcnn", C, head_maker(loss)).to(dtype).eval()
    return fit_data(network)


def fit_data(network, calibration=70):
    """Return the fit data of a network, with this number of calibration images."""
    return FitData(
        network,
        deepcopy(network.classifier),
        network_set(network, 0, 120),
        network_set(network, 1, calibration),
        STD,
        MEAN,
    )


@cache
def trained_network(loss="softmax"):
    """Return a tiny network, trained a little so that an attack changes some predictions."""
    data = untrained_data(loss)
    optimizer = torch.optim.Adam(data.network.parameters(), lr=0.01)
    inputs, labels = torch.cat(list(data.train.batches())), data.train.labels
    for _ in range(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(data.network(inputs), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return data.network


def trained_data(loss="softmax", dtype=torch.float32, calibration=200):
    """Return the fit data of the trained network."""
    return fit_data(deepcopy(trained_network(loss)).to(dtype), calibration)


def feature_data(features, head=None, labels=None):
    """Return fit data for detectors of features."""
    images = feature_set(features, head, labels)
    return FitData(None, head, images, images, STD)


def feature_set(features, head=None, labels=None):
    """Return a set with these features, and with logits if there is a head."""
    with torch.no_grad():
        outputs = {"features": features} | ({"logits": head(features)} if head else {})
    return SetOutputs(outputs, lambda: [], labels)


def random_features(n, d, seed=0):
    """Return features [n, d] of different variances, some of them zero, as after a ReLU."""
    return (
        torch.randn(n, d, generator=seeded_generator(seed)) * torch.linspace(0.5, 2, d) + 0.5
    ).relu()


def linear_head(d, seed=3):
    """Return SoftMax's head for d features."""
    torch.manual_seed(seed)
    return LOSSES["softmax"].head(d, C).eval()
