"""SoftMax, IsoMax, IsoMax+ and DisMax, against their definitions in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, rel_entr
from torch import nn

import losses
from tests.common import PROTOTYPES
from tests.heads import B, C, batch, build


def expected_logits(name, head, features):
    """Return the logits by their definitions, in numpy."""
    f = features.detach().numpy()
    if name == "softmax":
        return f @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    p = head.prototypes.detach().numpy()
    if name == "isomax":
        return -cdist(f, p)
    f = f / np.linalg.norm(f, axis=1, keepdims=True)
    p = p / np.linalg.norm(p, axis=1, keepdims=True)
    d = abs(head.distance_scale.item()) * cdist(f, p)
    if name == "isomaxplus":
        return -d
    d = d / math.sqrt(2)
    return -(d + d.mean(1, keepdims=True))


@pytest.mark.parametrize("name", PROTOTYPES)
def test_logits_equal_their_definitions(name):
    head, _ = build(name)
    features, _ = batch()
    head.eval().temperature.fill_(0.5)
    logits = expected_logits(name, head, features)
    np.testing.assert_allclose(head(features).detach(), logits / 0.5, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in PROTOTYPES if name != "dismax"])
def test_losses_equal_their_definitions(name):
    head, criterion = build(name)
    features, targets = batch()
    logits = expected_logits(name, head, features)
    scale = 1 if name == "softmax" else 10
    expected = -log_softmax(scale * logits, axis=1)[np.arange(B), targets].mean()
    assert criterion(head(features), targets).item() == pytest.approx(expected, rel=1e-12)
    head.eval()  # evaluation mode does not use E
    expected = -log_softmax(logits, axis=1)[np.arange(B), targets].mean()
    assert criterion(head(features), targets).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_dismax_with_fpr_equals_its_definition(alpha):
    head, _ = build("dismax")
    criterion = losses.DisMaxLossSecondPart(head, alpha=alpha)
    features, targets = batch()
    _, targets = criterion.preprocess(torch.zeros(B, 1, 2, 2), targets)
    value = criterion(head(features), targets)
    targets = targets[:, 0]  # each image's own class
    log_p = log_softmax(10 * expected_logits("dismax", head, features), axis=1)
    half = B // 2
    plain = -log_p[np.arange(half), targets[:half]].mean()
    q = np.zeros((half, C))
    for i in range(half):
        for places in range(4):
            q[i, targets[half + (i - places) % half]] += 0.25
    divergence = rel_entr(q, np.exp(log_p[half:])).sum(1).mean()
    assert value.item() == pytest.approx(0.5 * plain + 0.5 * alpha * divergence, rel=1e-12)


@pytest.mark.parametrize(
    ("regularization", "other"),
    [("fpr", losses.DisMaxLossSecondPart), (None, losses.IsoMaxPlusLossSecondPart)],
)
def test_the_mean_distance_is_in_no_training_loss(regularization, other):
    """Without FPR, DisMax's loss is that of IsoMax+ with the scale divided by √2."""
    dismax, _ = build("dismax")
    isomaxplus, _ = build("isomaxplus")
    isomaxplus.prototypes.data.copy_(dismax.prototypes)
    isomaxplus.distance_scale.data.copy_(dismax.distance_scale / math.sqrt(2))
    features, classes = batch()
    features.requires_grad_()
    found = []
    for criterion in (
        losses.DisMaxLossSecondPart(dismax.train(), regularization),
        other(isomaxplus.train()),
    ):
        head = criterion.classifier
        _, targets = criterion.preprocess(
            torch.zeros(B, 3, 2, 2), classes, generator=torch.Generator().manual_seed(0)
        )
        loss = criterion(head(features), targets)
        inputs = (features, head.prototypes, head.distance_scale)
        found.append([loss, *torch.autograd.grad(loss, inputs)])
    found[0][-1] *= math.sqrt(2)  # of the scale
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_loss_equals_the_authors_two_step_cross_entropy_until_that_overflows():
    head, criterion = build("dismax_nofpr", torch.float32)
    features, targets = batch(torch.float32)
    for scale, finite in ((1.0, True), (100.0, False)):
        head.distance_scale.data.fill_(scale)
        logits = head(features)
        two_steps = -torch.log(torch.softmax(10 * logits, 1))[torch.arange(B), targets].mean()
        assert two_steps.isfinite().item() is finite
        stable = criterion(logits, targets)
        assert stable.isfinite()
        if finite:
            torch.testing.assert_close(stable, two_steps)


def test_prototypes_are_initialised_as_published():
    assert (losses.IsoMaxLossFirstPart(8, 3).prototypes == 0).all()
    torch.manual_seed(0)
    head = losses.DisMaxLossFirstPart(500, 100)
    assert head.prototypes.mean().abs() < 0.02
    assert head.prototypes.std().item() == pytest.approx(1, abs=0.02)
    assert head.distance_scale.tolist() == head.temperature.tolist() == [1.0]


def test_softmax_starts_with_the_weight_of_nn_linear_and_bias_0():
    torch.manual_seed(0)
    head = losses.SoftMaxLossFirstPart(400, 50)
    assert (head.bias == 0).all()
    assert 0.99 / 20 < head.weight.abs().max() <= 1 / 20
    head.start_as_pytorch()
    assert 0.9 / 20 < head.bias.abs().max() <= 1 / 20


def test_the_published_snippet_trains():
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self, num_features, num_classes):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, num_features), nn.ReLU())
            self.classifier = losses.DisMaxLossFirstPart(num_features, num_classes)

        def forward(self, x):
            return self.classifier(self.body(x))

    model = Model(16, 2)
    criterion = losses.DisMaxLossSecondPart(model.classifier)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, labels = torch.randn(64, 3, 2, 2), torch.arange(64) % 2
    images += 3 * labels.view(-1, 1, 1, 1)
    history = []
    for _ in range(60):
        inputs, targets = criterion.preprocess(images, labels)
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.7 * history[0]
    model.eval()
    outputs = model(images)
    assert (outputs.argmax(1) == labels).float().mean() > 0.95
    assert model.classifier.scores(outputs).shape == (64,)
