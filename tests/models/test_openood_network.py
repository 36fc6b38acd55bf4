"""Our networks behind the calls of OpenOOD's evaluator.

`StandIn` is a small evaluator, written from the documented interface: it only calls `net(x)`,
`net(x, return_feature=True)`, `net(x, return_feature_list=True)`, `net.fc` and `net.get_fc()`.
"""

import numpy as np
import pytest
import torch

from detectors import DETECTORS
from losses import LOSSES
from models import OpenOODNetwork, build_model
from tests.detectors.sets import network_set, trained_data


class StandIn:
    """Scores of images by methods that use the network in different ways."""

    def __init__(self, net, train):
        self.net = net
        with torch.no_grad():
            self.train = torch.cat([net(x, return_feature=True)[1] for x in train])

    def logits(self, x):
        return self.net(x)

    def energy_by_fc(self, x):
        return self.net.fc(self.net(x, return_feature=True)[1]).logsumexp(1)

    def react(self, x):
        clip = np.percentile(self.train.numpy(), 90)
        return self.net.fc(self.net(x, return_feature=True)[1].clamp(max=clip)).logsumexp(1)

    def logits_by_weights(self, x):
        weight, bias = self.net.get_fc()
        return self.net(x, return_feature=True)[1].numpy() @ weight.T + bias

    def layers(self, x):
        logits, maps = self.net(x, return_feature_list=True)
        return logits, [each.mean((2, 3)) for each in maps]


@pytest.fixture
def data():
    data = trained_data()
    data.network.classifier.temperature.fill_(3)  # of a calibrated network
    return data


@torch.no_grad()
def test_every_call_is_answered_and_gives_our_own_scores(data):
    net = OpenOODNetwork(data.network).train(False)
    evaluator = StandIn(net, data.train.batches())
    other = network_set(data.network, 2, 40)
    x, logits = torch.cat(list(other.batches())), other.outputs["logits"]
    torch.testing.assert_close(evaluator.logits(x), logits)  # at temperature 1
    torch.testing.assert_close(evaluator.energy_by_fc(x), logits.logsumexp(1))
    weights = torch.from_numpy(evaluator.logits_by_weights(x))
    torch.testing.assert_close(weights, logits, rtol=1e-4, atol=1e-4)
    react = DETECTORS["react"].fit(data)(other)
    torch.testing.assert_close(evaluator.react(x).double(), react, rtol=1e-4, atol=1e-4)
    with_maps, layers = evaluator.layers(x)
    torch.testing.assert_close(with_maps, logits)
    for ours, theirs in zip(data.network.layer_features(x), layers, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert data.network.classifier.temperature == 3  # the network itself is as it was


def test_gradients_with_respect_to_images_are_there_for_odin(data):
    x = next(iter(data.train.batches())).clone().requires_grad_()
    OpenOODNetwork(data.network)(x).amax(1).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("model", ["resnet18", "densenetbc40", "wideresnet164", "smallcnn"])
@torch.no_grad()
def test_maps_of_every_family_are_those_that_the_features_are_averages_of(model):
    """A later layer that changed a map in place would change its average."""
    torch.manual_seed(0)
    network = build_model(model, 4, LOSSES["softmax"].head).eval()
    x = torch.randn(2, 3, 32, 32)
    _, maps = OpenOODNetwork(network)(x, return_feature_list=True)
    averages = [each.mean((2, 3)) for each in maps]
    for found, expected in zip(averages, network.layer_features(x), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_head_without_weights_of_a_linear_layer_has_no_get_fc():
    network = OpenOODNetwork(build_model("smallcnn", 4, LOSSES["dismax"].head))
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 4)
    with pytest.raises(ValueError, match="get_fc needs a linear head, this one is DisMaxLossF"):
        network.get_fc()


def test_a_network_of_a_library_has_features_but_no_list_of_layers():
    network = OpenOODNetwork(build_model("timm/resnet10t", 4, LOSSES["softmax"].head))
    logits, features = network(torch.randn(1, 3, 32, 32), return_feature=True)
    assert (logits.shape, features.shape) == ((1, 4), (1, 512))
    with pytest.raises(ValueError, match="needs a network whose layers are known"):
        network(torch.randn(1, 3, 32, 32), return_feature_list=True)
