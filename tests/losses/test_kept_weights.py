"""`replace_classifier`: when a head keeps a layer's weights, and what it must not lose."""

import pytest
import torch
from torch import nn

import losses


class WithLoRA(nn.Linear):
    """A linear layer that adds a product of low rank."""

    def __init__(self, num_features, num_classes):
        super().__init__(num_features, num_classes)
        self.down = nn.Parameter(torch.randn(2, num_features))
        self.up = nn.Parameter(torch.randn(num_classes, 2))

    def forward(self, features):
        return super().forward(features) + features @ self.down.T @ self.up.T


class Renamed(nn.Linear):
    def forward(self, features):
        return nn.functional.linear(features, self.weight, self.bias)


def test_the_weights_of_a_layer_that_computes_more_are_not_taken():
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), WithLoRA(5, 4))
    with pytest.raises(ValueError, match="'2' is a WithLoRA with a forward of its own"):
        losses.replace_classifier(network, losses.SoftMaxLossFirstPart)
    assert isinstance(network[2], WithLoRA)
    losses.replace_classifier(network, losses.DisMaxLossFirstPart)  # has new weights
    for kind in (Renamed, nn.Linear):
        with torch.device("meta" if kind is nn.Linear else "cpu"):
            network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), kind(5, 4))
            losses.replace_classifier(network, losses.SoftMaxLossFirstPart)


@pytest.mark.parametrize("first_part", [losses.SoftMaxLossFirstPart, losses.DisMaxLossFirstPart])
@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward"])
def test_hooks_are_refused(kind, first_part):
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    getattr(network[2], f"register_{kind}_hook")(lambda *_: None)
    with pytest.raises(ValueError, match="'2' has hooks"):
        losses.replace_classifier(network, first_part)


def test_frozen_weights_stay_frozen_and_those_of_a_parametrization_are_trained():
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    network[2].weight.requires_grad_(False)
    head = losses.replace_classifier(network, losses.SoftMaxLossFirstPart)
    assert [each.requires_grad for each in (head.weight, head.bias)] == [False, True]
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), layer)
    head = losses.replace_classifier(network, losses.SoftMaxLossFirstPart)
    assert [each.requires_grad for each in (head.weight, head.bias)] == [True, True]


class Margin(nn.Linear):
    def forward(self, features, labels):
        return super().forward(features)


class ByHand(nn.Linear):
    def forward(self, features):
        return nn.functional.dropout(features, 0.5, self.training) @ self.weight.T + self.bias


def test_a_layer_is_judged_by_what_it_computes_in_evaluation_mode():
    def network(layer):
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), layer)

    with pytest.raises(ValueError, match="'2' is a Margin with a forward of its own"):
        losses.replace_classifier(network(Margin(5, 4)), losses.SoftMaxLossFirstPart)
    for convert in (torch.float32, torch.bfloat16):
        layer = ByHand(5, 4).to(convert).train()
        losses.replace_classifier(network(layer), losses.SoftMaxLossFirstPart)
        assert layer.training
    with torch.device("meta"):
        losses.replace_classifier(network(ByHand(5, 4)), losses.SoftMaxLossFirstPart)
