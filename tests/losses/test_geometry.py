"""Distances of points and directions and their gradients, against the definition in float64."""

import math

import pytest
import torch
from torch import nn

import losses
from tests.common import PROTOTYPES
from tests.heads import B, C, D, batch, build

ONE_OF_EACH = ["isomax", "isomaxplus", "dismax_nofpr"]


@pytest.mark.parametrize("name", PROTOTYPES)
@pytest.mark.parametrize("case", ["prototype", "zero", 1e-25, 1e-15, 1e-6, 1e6, 1e15, 1e25])
def test_extreme_features_stay_finite_with_finite_gradients(name, case):
    head, criterion = build(name, torch.float32)
    features, targets = batch(torch.float32)
    if case == "zero":
        features[:4] = 0
    elif case == "prototype":
        features[:C] = (
            head.prototypes.detach() if hasattr(head, "prototypes") else head.weight.detach()
        )
    else:
        features *= case
    features.requires_grad_()
    _, targets = criterion.preprocess(torch.zeros(B, 1, 2, 2), targets)
    logits = head(features)
    loss = criterion(logits, targets)
    loss.backward()
    assert loss.isfinite()
    for tensor in (logits, features.grad, *(parameter.grad for parameter in head.parameters())):
        assert tensor.isfinite().all()
    if case == "prototype" and name in ("isomax", "isomaxplus"):
        assert (logits[:C].diagonal().abs() < 1e-5).all()
    if name in ("softmax", "isomax"):
        return
    # Without a direction, all prototypes are equally far and the gradient is 0.
    if case == "zero" or case in (1e-25, 1e25):
        assert (features.grad[:4] == 0).all()
        assert (logits[:4].amax(1) - logits[:4].amin(1) < 1e-6).all()
    elif isinstance(case, float):  # directions do not depend on the scale
        torch.testing.assert_close(logits, head(batch(torch.float32)[0]), rtol=1e-5, atol=1e-5)


def relative_error(value, expected):
    return ((value.double() - expected).norm() / expected.norm()).item()


def near_prototypes(p, noise, targets, share):
    """Return features near their targets' prototypes, moved at a right angle by a `share` of the
    prototype's length.
    """
    p = p[targets].double()
    unit = nn.functional.normalize(p)
    sideways = noise.double() - unit * (noise.double() * unit).sum(1, keepdim=True)
    return (p + share * p.norm(dim=1, keepdim=True) * nn.functional.normalize(sideways)).float()


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize(
    ("batch_size", "features", "classes"), [(64, 342, 10), (64, 512, 100), (256, 512, 1000)]
)
@pytest.mark.parametrize("share", [None, 0.1, 0.01, 0.002])
def test_float32_logits_and_gradients_equal_those_of_plain_float64(
    name, batch_size, features, classes, share
):
    """The features are near their prototypes, or anywhere if `share` is None.

    The expected values are the definition, with autograd's gradients.
    """
    torch.manual_seed(0)
    head, _ = build(name, torch.float32, features, classes)
    noise, targets = torch.randn(batch_size, features), torch.randint(classes, (batch_size,))
    with torch.no_grad():
        if name == "isomax":
            head.prototypes.add_(100)  # far from the origin, as features after a ReLU are
        f = near_prototypes(head.prototypes, noise, targets, share) if share else noise
    inputs = [f.requires_grad_(), *head.parameters()]
    logits = head(f)
    # Not the gradient of a loss, which saturates so near and is then only rounding error.
    upstream = torch.randn(logits.shape)
    results = [logits, *torch.autograd.grad(logits, inputs, upstream)]

    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    points, prototypes = (
        exact[:2]
        if name == "isomax"
        else (tensor / tensor.norm(dim=1, keepdim=True) for tensor in exact[:2])
    )
    small = batch_size * features * classes < 1e7
    d = (points[:, None] - prototypes).norm(dim=2) if small else torch.cdist(points, prototypes)
    if name == "isomax":
        expected = -d
    elif name == "isomaxplus":
        expected = -exact[2].abs() * d
    else:
        expected = -exact[2].abs() * (d + d.mean(1, keepdim=True)) / math.sqrt(2)
    expected = [expected, *torch.autograd.grad(expected, exact, upstream.double())]
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == torch.float32
        assert relative_error(result, right) < 1e-4
    # ∂L/∂f of each image.
    rows = (results[1].double() - expected[1]).norm(dim=1) / expected[1].norm(dim=1)
    assert rows.max() < 1e-4 * max(1, 0.01 / (share or 1))
    label_logits = [row.gather(1, targets[:, None]).double() for row in (logits, expected[0])]
    torch.testing.assert_close(*label_logits, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["isomaxplus", "dismax_nofpr"])
def test_a_zero_vector_gets_no_gradient(name):
    head, _ = build(name)
    features, _ = batch()
    with torch.no_grad():
        features[1] = head.prototypes[2] = 0
    upstream = torch.randn(B, C, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = torch.autograd.grad(
        head(features.requires_grad_()), (features, head.prototypes), upstream
    )
    f, p = (tensor.detach().requires_grad_() for tensor in (features, head.prototypes))
    unit_f, unit_p = (nn.functional.normalize(tensor) for tensor in (f, p))
    d = 1.7 * (unit_f[:, None] - unit_p + 1e-300).norm(dim=2)
    d = d + 1.7 * (f == 0).all(1, keepdim=True)  # as far from each prototype as possible
    logits = -d if name == "isomaxplus" else -(d + d.mean(1, keepdim=True)) / math.sqrt(2)
    torch.testing.assert_close(head(features), logits)
    right = [gradient.clone() for gradient in torch.autograd.grad(logits, (f, p), upstream)]
    right[0][1] = right[1][2] = 0  # `normalize` divides zero by 1e-12
    torch.testing.assert_close(gradients, tuple(right))


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("share", [1e-2, 3e-4, 1e-5])
def test_two_prototypes_near_one_feature_do_not_make_the_gradient_longer(name, share):
    head, _ = build(name, torch.float32, 512, 10)
    with torch.no_grad():
        head.prototypes[1] = head.prototypes[0]
    features = near_prototypes(
        head.prototypes.detach(), torch.randn(64, 512), torch.zeros(64, dtype=torch.int64), share
    )
    two_logits = head(features.requires_grad_())[:, :2].sum()
    (gradient,) = torch.autograd.grad(two_logits, features)
    # Each |∂d/∂f| is at most 1.
    steepest = 2 if name == "isomax" else 2 * 1.7 / features.detach().norm(dim=1).min()
    assert gradient.norm(dim=1).max() <= 1.01 * steepest


@pytest.mark.parametrize("size", [1.0, 1e8, 1e15, 1e18, 1e25])
def test_isomax_works_with_prototypes_of_any_size(size):
    head = losses.IsoMaxLossFirstPart(3, 2)
    p = torch.tensor([[1.0, 0, 0], [-1.0, 0, 1.0]]) * size
    head.prototypes.data.copy_(p)
    for f in (torch.ones(1, 3), torch.tensor([[3.0, -1.0, 0.5]]) * size):
        torch.testing.assert_close(
            head(f).double(), -torch.cdist(f.double(), p.double()), rtol=1e-6, atol=0
        )


def test_the_gradient_of_isomax_at_distance_zero_is_zero():
    head, _ = build("isomax", torch.float32, 512, 10)
    own = torch.arange(64) % 10
    features = head.prototypes.detach()[own].requires_grad_()
    at_zero = head(features).gather(1, own[:, None]).sum()
    for gradient in torch.autograd.grad(at_zero, (features, head.prototypes)):
        assert not gradient.any()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_frozen_tensor_gets_no_gradient_and_changes_no_other_gradient(name):
    head, criterion = build(name)
    features, targets = batch()
    criterion(head(features.requires_grad_()), targets).backward()
    both = features.grad, head.prototypes.grad
    features, head.prototypes.grad = features.detach(), None
    criterion(head(features), targets).backward()
    torch.testing.assert_close(head.prototypes.grad, both[1])
    head.prototypes.requires_grad_(False).grad = None
    criterion(head(features.requires_grad_()), targets).backward()
    torch.testing.assert_close(features.grad, both[0])
    assert head.prototypes.grad is None


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("size", [1e14, 1e18, 1e25, 1e30, math.inf])
def test_an_outlier_does_not_change_the_logits_of_other_images(name, size):
    head, _ = build(name, torch.float32)
    features, _ = batch(torch.float32)
    alone = head(features[:4])
    features[4:] = size
    torch.testing.assert_close(head(features)[:4], alone)
    if name == "isomax" and size < math.inf:
        torch.testing.assert_close(head(features)[4:], torch.full((B - 4, C), -size * math.sqrt(D)))
