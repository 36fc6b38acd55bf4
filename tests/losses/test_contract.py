"""What all heads share: calibration, thresholds, and loading of checkpoints."""

import math

import pytest
import torch
from torch import nn

import losses
from tests.heads import C, D, batch, build


def test_training_mode_forgets_the_calibration_and_evaluation_mode_keeps_it():
    head, _ = build("dismax")
    head.eval()
    head.temperature.fill_(0.1)
    head.set_thresholds(torch.arange(100.0))
    head.eval()
    assert head.temperature.item() == pytest.approx(0.1)
    head.train()
    assert head.temperature.item() == 1
    assert head.thresholds.isnan().all()


def test_the_mode_may_change_between_forward_and_backward():
    head, criterion = build("dismax_nofpr")
    features, targets = batch()
    loss = criterion(head(features), targets)
    head.eval()
    head.train()
    loss.backward()
    assert head.prototypes.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 7, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the buffer is float32
def test_a_threshold_has_at_least_the_true_positive_rate(count, dtype):
    head, _ = build("dismax", torch.float32)
    with pytest.raises(RuntimeError, match="no thresholds"):
        head.threshold()
    scores = torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=dtype)
    with_ties = scores.round(decimals=1)
    large = 1e9 * scores  # float32 cannot distinguish neighbours
    for in_scores in (scores, with_ties, large):
        head.set_thresholds(in_scores)
        assert head.threshold(1.0) == pytest.approx(in_scores.min().item())
        for tpr in (1, 0.999, 0.95, 0.93, 0.9, 0.5, 0.0):
            assert (in_scores >= head.threshold(tpr)).float().mean() >= tpr
    for bad in (torch.tensor([]), torch.tensor([1.0, math.nan])):
        with pytest.raises(ValueError, match="finite"):
            head.set_thresholds(bad)


def test_state_dicts_of_the_authors_and_of_linear_layers_load():
    head = losses.DisMaxLossFirstPart(D, C)
    for shape in ((), (1,)):
        state = {
            "prototypes": torch.randn(C, D),
            "distance_scale": torch.full(shape, 2.0),
            "temperature": torch.full(shape, 0.1),
        }
        head.load_state_dict(state)
        assert head.distance_scale.tolist() == [2.0]
        assert head.temperature.item() == pytest.approx(0.1)
    linear = nn.Linear(D, C)
    softmax_head = losses.SoftMaxLossFirstPart(D, C).eval()
    softmax_head.load_state_dict(linear.state_dict())
    features = torch.randn(3, D)
    torch.testing.assert_close(softmax_head(features), linear(features))
    with pytest.raises(RuntimeError, match="Missing key"):
        head.load_state_dict({"temperature": torch.ones(1)})


@pytest.mark.parametrize("filled", [True, False])
def test_the_authors_dismax_checkpoints_load_without_their_thresholds(filled):
    thresholds = torch.rand(2, 25) if filled else torch.empty(2, 25)
    extras = {
        "validationset_available": torch.tensor([filled]),
        "precomputed_thresholds": thresholds,
    }
    own = {
        "prototypes": torch.randn(C, D),
        "distance_scale": torch.tensor([2.0]),
        "temperature": torch.tensor([0.1]),
    }
    network = nn.Sequential(nn.Identity(), losses.DisMaxLossFirstPart(D, C))
    network.load_state_dict({f"1.{name}": value for name, value in (own | extras).items()})
    assert network[1].prototypes.equal(own["prototypes"])
    assert network[1].thresholds.isnan().all()
    for name, value in (("other", torch.ones(1)), ("precomputed_thresholds", torch.rand(3, 25))):
        with pytest.raises(RuntimeError, match=f"Unexpected key.*{name}"):
            losses.DisMaxLossFirstPart(D, C).load_state_dict(own | {name: value})
    with pytest.raises(RuntimeError, match="Unexpected key.*validationset_available"):
        losses.IsoMaxPlusLossFirstPart(D, C).load_state_dict(
            own | extras
        )  # the authors' IsoMax+ has no such entries


def test_the_authors_softmax_checkpoints_load():
    weights, bias = torch.randn(C, D), torch.randn(C)
    network = nn.Sequential(nn.Identity(), losses.SoftMaxLossFirstPart(D, C))
    network.load_state_dict({"1.weights": weights, "1.bias": bias, "1.temperature": torch.ones(1)})
    assert network[1].weight.equal(weights)
    assert network[1].bias.equal(bias)
    with pytest.raises(RuntimeError, match="Unexpected key.*weights"):
        network[1].load_state_dict({"weights": weights, "weight": weights, "bias": bias})


def test_features_of_another_length_are_an_error():
    head, _criterion = build("dismax")
    with pytest.raises(ValueError, match=r"\[B, 5\], got \[2, 6\]"):
        head(torch.zeros(2, 6))


def test_a_head_without_features_is_an_error():
    with pytest.raises(ValueError, match="1 feature or more.*num_features=0"):
        losses.DisMaxLossFirstPart(0, 3)


def test_an_unknown_loss_raises_an_error_with_the_choices():
    with pytest.raises(ValueError, match="'dismaxx'.*softmax, isomax"):
        losses.get_loss("dismaxx")
