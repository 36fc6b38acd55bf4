"""SNGP, against its definition in numpy."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from sklearn.metrics.pairwise import rbf_kernel
from torch import nn

import losses
from losses import LOSSES, sngp
from tests.heads import B, C, D, batch, build


def phi(head, features):
    """Return SNGP's random features, in numpy."""
    angles = features.numpy() @ head.frequencies.numpy().T / head.length_scale + head.phases.numpy()
    return np.sqrt(2 / len(head.phases)) * np.cos(angles)


def train_an_epoch(head, criterion):
    """Train an epoch of two batches. Return their features, and the features of a third batch."""
    batches = [
        torch.randn(B, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for seed in range(3)
    ]
    criterion.before_epoch(1)
    for features in batches[:2]:
        np.testing.assert_allclose(
            head(features).detach(), phi(head, features) @ head.weight.detach().numpy().T, rtol=1e-9
        )
    criterion.after_epoch(1)
    return torch.cat(batches[:2]), batches[2]


@pytest.mark.parametrize(("length_scale", "factor"), [(20, 20), (2, math.pi / 8)])
def test_sngp_equals_its_definition(length_scale, factor):
    head, criterion = build("sngp")
    assert (head.length_scale, head.mean_field) == (20, 20)
    head.length_scale, head.mean_field = length_scale, factor
    train, other = train_an_epoch(head, criterion)
    phi_train, p = phi(head, train), phi(head, other)
    # As in the reference code: features without √(2/M), and a ridge of 1.
    count = phi_train.shape[1]
    length = math.sqrt(count / 2)
    covariance = np.linalg.inv(np.eye(count) + length**2 * phi_train.T @ phi_train)
    variance = np.einsum("bm,mn,bn->b", length * p, covariance, length * p)
    outputs = head.eval().named_outputs(other)
    np.testing.assert_allclose(outputs["variance"].detach(), variance, rtol=1e-6)
    logits = p @ head.weight.detach().numpy().T / np.sqrt(1 + factor * variance)[:, None]
    np.testing.assert_allclose(outputs["logits"].detach(), logits, rtol=1e-6)
    uncertainty = C / (C + np.exp(logits).sum(1))
    np.testing.assert_allclose(
        head.all_scores(outputs, 1)["DS"].detach(), -np.log(uncertainty), rtol=1e-6
    )
    np.testing.assert_allclose(
        head.scores(outputs).detach(), torch.tensor(logits).softmax(1).amax(1), rtol=1e-6
    )


def test_evaluation_adds_no_image_and_an_epoch_starts_with_the_prior():
    head, criterion = build("sngp")
    _, other = train_an_epoch(head, criterion)
    covariance = head.covariance.clone()
    head.eval()(other)
    criterion.after_epoch(1)
    assert head.covariance.equal(covariance)
    criterion.before_epoch(2)
    count = len(covariance)
    assert head.precision.equal(2 / count * torch.eye(count, dtype=torch.float64))


def test_averaged_weights_get_their_own_covariance_as_the_docstring_says():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, D), sngp.SNGPLossFirstPart(D, C)).double()
    averaged = torch.optim.swa_utils.AveragedModel(network)
    images = torch.randn(60, 8, dtype=torch.float64)
    for _ in range(3):
        with torch.no_grad():
            network[0].weight.add_(torch.randn_like(network[0].weight))
        averaged.update_parameters(network)
    head = averaged.module[1]
    averaged.eval()
    head.train()
    head.reset()
    with torch.no_grad():
        averaged(images)
    head.finish()
    head.eval()
    p = phi(head, averaged.module[0](images).detach())
    expected = np.linalg.inv(2 / p.shape[1] * np.eye(p.shape[1]) + p.T @ p)
    np.testing.assert_allclose(head.covariance, expected, rtol=1e-6, atol=1e-6 * expected.max())


@pytest.mark.slow
def test_the_ridge_survives_tens_of_thousands_of_images_in_float32():
    """The error of a plain float32 sum is larger than the ridge in directions with few images."""
    torch.manual_seed(0)
    head, criterion = build("sngp", torch.float32, features=64)
    criterion.before_epoch(1)
    exact = sngp.RIDGE * torch.eye(sngp.RANDOM_FEATURES, dtype=torch.float64)
    centres = torch.randn(4, 64)
    for _ in range(800):
        features = 0.05 * (centres[torch.randint(4, (64,))] + 0.1 * torch.randn(64, 64))
        head(features)
        p = torch.from_numpy(phi(head, features))
        exact += (p.T @ p).double()
    criterion.after_epoch(1)
    precision = head.precision.double() - head.rounding.double()
    assert torch.linalg.eigvalsh(precision)[0].item() == pytest.approx(
        torch.linalg.eigvalsh(exact)[0].item(), rel=0.01
    )
    other = torch.randn(50, 64)
    p = torch.from_numpy(phi(head, other)).double()
    variance = torch.einsum("bm,mn,bn->b", p, torch.linalg.inv(exact), p)
    torch.testing.assert_close(
        head.eval().named_outputs(other)["variance"].double(), variance, rtol=1e-3, atol=0
    )


def test_constants_are_those_of_the_reference_code():
    for classes, factor in ((10, 20.0), (99, 20.0), (100, 7.5), (1000, 7.5)):
        assert LOSSES["sngp"].head(D, classes).mean_field == factor
    torch.manual_seed(0)
    head = LOSSES["sngp"].head(64, 10)
    assert head.phases.min() >= 0
    assert 6 < head.phases.max() <= 2 * math.pi
    # The bound is Glorot's times √(M/2), since the features are that much shorter than in the
    # reference code.
    bound = math.sqrt(6 / (1024 + 10)) * math.sqrt(1024 / 2)
    assert 0.99 * bound < head.weight.abs().max() <= bound
    assert head.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize(("count", "dimensions"), [(1024, 64), (1024, 640), (10, 3)])
def test_frequencies_are_orthogonal_and_as_long_as_normal_vectors(count, dimensions):
    torch.manual_seed(0)
    frequencies = sngp.orthogonal_frequencies(count, dimensions)
    assert frequencies.shape == (count, dimensions)
    for block in nn.functional.normalize(frequencies).split(dimensions):
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)), atol=1e-5, rtol=0)
    if count == 1024:
        assert frequencies.square().sum(1).mean().item() == pytest.approx(dimensions, rel=0.05)
        assert frequencies.norm(dim=1).std() > 0.5  # that of the χ distribution is about √½


def test_random_features_approximate_the_rbf_kernel():
    head, _ = build("sngp")
    features, _ = batch()
    features = head.length_scale * features
    p = phi(head, features)
    expected = rbf_kernel(features.numpy(), gamma=1 / (2 * head.length_scale**2))
    # The limit is four standard deviations.
    assert np.abs(p @ p.T - expected).max() < 4 / math.sqrt(sngp.RANDOM_FEATURES)


@pytest.mark.slow
def test_the_variance_grows_away_from_two_moons():
    torch.manual_seed(0)
    points, labels = make_moons(500, noise=0.1, random_state=0)
    points, labels = torch.tensor(points, dtype=torch.float32), torch.tensor(labels)
    head = losses.SNGPLossFirstPart(2, 2, length_scale=2.0)  # the two moons are about 2 wide
    criterion = losses.SNGPLossSecondPart(head)
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9)
    for epoch in range(1, 101):
        criterion.before_epoch(epoch)
        loss = criterion(head(points), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        criterion.after_epoch(epoch)
    head.eval()
    assert (head(points).argmax(1) == labels).float().mean() > 0.8
    direction = torch.tensor(
        [[math.cos(angle), math.sin(angle)] for angle in torch.linspace(0, 6, 20)]
    )
    rings = [
        head.named_outputs(points.mean(0) + radius * direction)["variance"].mean().item()
        for radius in (0.5, 2, 4, 6, 8)
    ]
    assert rings == sorted(rings)
    assert head.named_outputs(points)["variance"].max() < rings[2]
    assert rings[0] < 1e-3 * rings[-1]
    assert (
        rings[-1] < 1.3 * sngp.RANDOM_FEATURES / 2
    )  # the variance of the prior, (M/2)·φᵀφ, is M/2 on average
