"""Each loss recomputed by another route in float64, its gradients, its extremes, and the contract it keeps (FPR: test_fpr.py)."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, rel_entr, softmax
from torch import nn

import losses
from losses import LOSSES, fpr

B, D, C = 12, 5, 4
DISTANCE_LOSSES = ["isomax", "isomaxplus", "dismax", "dismax_nofpr"]


def build(name, dtype=torch.float64, features=D, classes=C, scale=-1.7):
    torch.manual_seed(3)
    head = LOSSES[name].head(features, classes).to(dtype)
    with torch.no_grad():
        if name == "isomax":
            head.prototypes.normal_()  # away from where they start, so that they differ
        if hasattr(head, "distance_scale"):
            head.distance_scale.fill_(scale)  # its absolute value counts
    return head, LOSSES[name].criterion(head)


def batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(B, D, generator=generator, dtype=dtype), torch.randint(C, (B,), generator=generator)


def expected_logits(name, head, features):
    """The definitions, in numpy."""
    f = features.detach().numpy()
    if name == "softmax":
        return f @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    p = head.prototypes.detach().numpy()
    if name == "isomax":
        return -cdist(f, p)
    f, p = f / np.linalg.norm(f, axis=1, keepdims=True), p / np.linalg.norm(p, axis=1, keepdims=True)
    d = abs(head.distance_scale.item()) * cdist(f, p)
    if name == "isomaxplus":
        return -d
    d = d / math.sqrt(2)
    return -(d + d.mean(1, keepdims=True))


@pytest.mark.parametrize("name", LOSSES)
def test_logits_are_the_definitions(name):
    head, _ = build(name)
    features, _ = batch()
    head.temperature.fill_(0.5)
    np.testing.assert_allclose(head(features).detach(), expected_logits(name, head, features) / 0.5, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "dismax"])
def test_losses_are_the_definitions(name):
    head, criterion = build(name)
    features, targets = batch()
    logits = expected_logits(name, head, features)
    scale = 1 if name == "softmax" else 10
    expected = -log_softmax(scale * logits, axis=1)[np.arange(B), targets].mean()
    assert criterion(head(features), targets).item() == pytest.approx(expected, rel=1e-12)
    head.eval()  # without E
    expected = -log_softmax(logits, axis=1)[np.arange(B), targets].mean()
    assert criterion(head(features), targets).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_dismax_with_fpr_is_the_definition(alpha):
    head, _ = build("dismax")
    criterion = losses.DisMaxLossSecondPart(head, alpha=alpha)
    features, targets = batch()
    _, targets = criterion.preprocess(torch.zeros(B, 1, 2, 2), targets)
    value = criterion(head(features), targets)
    log_p = log_softmax(10 * expected_logits("dismax", head, features), axis=1)
    half = B // 2
    plain = -log_p[np.arange(half), targets[:half]].mean()
    q = np.zeros((half, C))
    for i in range(half):
        for places in range(4):
            q[i, targets[half + (i - places) % half]] += 0.25
    divergence = rel_entr(q, np.exp(log_p[half:])).sum(1).mean()
    assert value.item() == pytest.approx(0.5 * plain + 0.5 * alpha * divergence, rel=1e-12)


def test_the_authors_two_step_cross_entropy_is_the_same_function_until_it_overflows():
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


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [-1.7, 1.7])
def test_gradients(name, scale):
    head, criterion = build(name, scale=scale)
    features, targets = batch()
    _, targets = criterion.preprocess(torch.zeros(B, 1, 2, 2), targets)
    parameters = list(head.parameters())

    def loss(features, *_):
        return criterion(head(features), targets)

    assert torch.autograd.gradcheck(loss, (features.requires_grad_(), *parameters))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["prototype", "zero", 1e-25, 1e-15, 1e-6, 1e6, 1e15, 1e25])
def test_extreme_features_stay_finite_with_finite_gradients(name, case):
    head, criterion = build(name, torch.float32)
    features, targets = batch(torch.float32)
    if case == "zero":
        features[:4] = 0
    elif case == "prototype":
        features[:C] = head.prototypes.detach() if hasattr(head, "prototypes") else head.weight.detach()
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
    if case == "prototype" and name in DISTANCE_LOSSES[:2]:
        assert (logits[:C].diagonal().abs() < 1e-5).all()
    if name in ("softmax", "isomax"):
        return
    if case == "zero" or case in (1e-25, 1e25):  # no direction: every prototype is as far, and there is nowhere to go
        assert (features.grad[:4] == 0).all()
        assert (logits[:4].amax(1) - logits[:4].amin(1) < 1e-6).all()
    elif isinstance(case, float):  # directions do not depend on the scale
        torch.testing.assert_close(logits, head(batch(torch.float32)[0]), rtol=1e-5, atol=1e-5)


def relative_error(value, expected):
    return ((value.double() - expected).norm() / expected.norm()).item()


def near_prototypes(p, noise, targets, share):
    """Features at `share` of their length from their targets' prototypes, square to them."""
    p = p[targets].double()
    aside = noise.double() - nn.functional.normalize(p) * (noise.double() * nn.functional.normalize(p)).sum(1, keepdim=True)
    return (p + share * p.norm(dim=1, keepdim=True) * nn.functional.normalize(aside)).float()


@pytest.mark.parametrize("name", ["isomax", "isomaxplus", "dismax_nofpr"])
@pytest.mark.parametrize(("batch_size", "features", "classes"), [(64, 342, 10), (64, 512, 100), (256, 512, 1000)])
@pytest.mark.parametrize("share", [None, 0.1, 0.01, 0.002])
def test_float32_logits_and_gradients_are_those_of_plain_float64(name, batch_size, features, classes, share):
    """The matrix product against the definition, differentiated by autograd; every feature near its prototype, or anywhere."""
    torch.manual_seed(0)
    head, _ = build(name, torch.float32, features, classes)
    noise, targets = torch.randn(batch_size, features), torch.randint(classes, (batch_size,))
    with torch.no_grad():
        if name == "isomax":
            head.prototypes.add_(100)  # away from the origin, as features after a ReLU are
        f = near_prototypes(head.prototypes, noise, targets, share) if share else noise
    inputs = [f.requires_grad_(), *head.parameters()]
    logits = head(f)
    upstream = torch.randn(logits.shape)  # not a loss's, which saturates so near and is then rounding error itself
    results = [logits, *torch.autograd.grad(logits, inputs, upstream)]

    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    points, prototypes = exact[:2] if name == "isomax" else (tensor / tensor.norm(dim=1, keepdim=True) for tensor in exact[:2])
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
    rows = (results[1].double() - expected[1]).norm(dim=1) / expected[1].norm(dim=1)  # ∂L/∂f of every image
    assert rows.max() < 1e-4 * max(1, 0.01 / (share or 1))
    own = (part[0].gather(1, targets[:, None]).double() for part in (results, expected))
    torch.testing.assert_close(*own, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["isomaxplus", "dismax_nofpr"])
def test_what_has_no_direction_turns_nothing(name):
    head, _ = build(name)
    features, _ = batch()
    with torch.no_grad():
        features[1] = head.prototypes[2] = 0
    upstream = torch.randn(B, C, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = torch.autograd.grad(head(features.requires_grad_()), (features, head.prototypes), upstream)
    f, p = (tensor.detach().requires_grad_() for tensor in (features, head.prototypes))
    unit_f, unit_p = (nn.functional.normalize(tensor) for tensor in (f, p))
    d = 1.7 * (unit_f[:, None] - unit_p + 1e-300).norm(dim=2)
    logits = -d if name == "isomaxplus" else -(d + d.mean(1, keepdim=True)) / math.sqrt(2)
    torch.testing.assert_close(head(features), logits)
    right = [gradient.clone() for gradient in torch.autograd.grad(logits, (f, p), upstream)]
    right[0][1] = right[1][2] = 0  # `normalize` divides zero by 1e-12
    torch.testing.assert_close(gradients, tuple(right))


@pytest.mark.parametrize("name", ["isomax", "isomaxplus", "dismax_nofpr"])
@pytest.mark.parametrize("share", [1e-2, 3e-4, 1e-5])
def test_two_prototypes_near_one_feature_make_no_gradient_longer(name, share):
    head, _ = build(name, torch.float32, 512, 10)
    with torch.no_grad():
        head.prototypes[1] = head.prototypes[0]
    features = near_prototypes(head.prototypes.detach(), torch.randn(64, 512), torch.zeros(64, dtype=torch.int64), share)
    chosen = head(features.requires_grad_())[:, :2].sum()
    (gradient,) = torch.autograd.grad(chosen, features)
    steepest = 2 if name == "isomax" else 2 * 1.7 / features.detach().norm(dim=1).min()  # each |∂d/∂f| is 1 at most
    assert gradient.norm(dim=1).max() <= 1.01 * steepest


@pytest.mark.parametrize("size", [1.0, 1e8, 1e15, 1e18, 1e25])
def test_isomax_takes_prototypes_of_any_size(size):
    head = losses.IsoMaxLossFirstPart(3, 2)
    p = torch.tensor([[1.0, 0, 0], [-1.0, 0, 1.0]]) * size
    head.prototypes.data.copy_(p)
    for f in (torch.ones(1, 3), torch.tensor([[3.0, -1.0, 0.5]]) * size):
        torch.testing.assert_close(head(f).double(), -torch.cdist(f.double(), p.double()), rtol=1e-6, atol=0)


def test_the_gradient_of_isomax_at_distance_zero_is_zero():
    head, _ = build("isomax", torch.float32, 512, 10)
    own = torch.arange(64) % 10
    features = head.prototypes.detach()[own].requires_grad_()
    at_zero = head(features).gather(1, own[:, None]).sum()
    for gradient in torch.autograd.grad(at_zero, (features, head.prototypes)):
        assert not gradient.any()


@pytest.mark.parametrize("name", ["isomax", "isomaxplus", "dismax_nofpr"])
def test_what_is_frozen_gets_no_gradient_and_changes_no_other(name):
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


@pytest.mark.parametrize("name", LOSSES)
def test_torch_compile_takes_the_whole_head_and_changes_nothing(name):
    head, _criterion = build(name)
    features, targets = batch()

    def step(forward):
        head.zero_grad()
        inputs = features.clone().requires_grad_()
        logits = forward(inputs)
        nn.functional.cross_entropy(logits, targets).backward()
        return [logits.detach(), inputs.grad, *(parameter.grad for parameter in head.parameters())]

    # aot_eager traces forward and backward as inductor does, without its minutes of compiling; fullgraph refuses any break.
    torch.testing.assert_close(step(torch.compile(head, backend="aot_eager", fullgraph=True)), step(head))


@pytest.mark.parametrize("name", ["isomax", "isomaxplus", "dismax_nofpr"])
def test_a_second_derivative_is_refused(name):
    head, criterion = build(name)
    features, targets = batch()
    loss = criterion(head(features.requires_grad_()), targets)
    (gradient,) = torch.autograd.grad(loss, features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_stay_visible_in_the_loss(name, bad):
    head, criterion = build(name, torch.float32)
    features, targets = batch(torch.float32)
    features[:] = bad
    _, targets = criterion.preprocess(torch.zeros(B, 1, 2, 2), targets)
    assert not criterion(head(features), targets).isfinite()


@pytest.mark.parametrize("name", DISTANCE_LOSSES)
@pytest.mark.parametrize("size", [1e14, 1e18, 1e25, 1e30, math.inf])
def test_an_outlier_changes_no_other_images_logits(name, size):
    head, _ = build(name, torch.float32)
    features, _ = batch(torch.float32)
    alone = head(features[:4])
    features[4:] = size
    torch.testing.assert_close(head(features)[:4], alone)
    if name == "isomax" and size < math.inf:
        torch.testing.assert_close(head(features)[4:], torch.full((B - 4, C), -size * math.sqrt(D)))


@pytest.mark.parametrize("name", LOSSES)
def test_no_images_give_no_logits(name):
    head, _ = build(name)
    assert head(torch.zeros(0, D)).shape == (0, C)
    assert head.scores(head(torch.zeros(0, D))).shape == (0,)


@pytest.mark.parametrize("name", LOSSES)
def test_a_small_temperature_and_a_large_scale_stay_finite(name):
    head, criterion = build(name, torch.float32)
    if hasattr(head, "distance_scale"):
        head.distance_scale.data.fill_(1e4)
    features, targets = batch(torch.float32)
    head.eval().temperature.fill_(0.001)
    logits = head(features)
    assert criterion(logits, targets).isfinite()
    for score in head.all_scores({"logits": logits}, 1.0).values():
        assert score.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32_and_double_stays_double(name):
    head, criterion = build(name, torch.float32)
    features, targets = batch(torch.float32)
    head.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(features.bfloat16())
        assert logits.dtype == criterion(logits, targets).dtype == torch.float32
    torch.testing.assert_close(logits, head(features.bfloat16().float()), rtol=0, atol=0)
    assert head(features.double()).dtype == torch.float64
    assert head.scores(logits.half()).dtype == torch.float32


def test_scores_are_the_definitions():
    logits = np.random.default_rng(0).normal(size=(6, 5)) * 3
    p = softmax(logits, axis=1)
    entropy = (p * np.log(p)).sum(1)
    highest, mean = logits.max(1), logits.mean(1)
    expected = {"MPS": p.max(1), "ES": entropy, "MDS": highest, "MMLS": highest + mean}
    expected |= {"MMLES": highest + mean + entropy, "MMLEPS": highest + mean + entropy + p.max(1)}
    assert list(expected) == list(losses.scores.SCORES)
    for name, values in expected.items():
        np.testing.assert_allclose(losses.scores.SCORES[name](torch.tensor(logits)), values, rtol=1e-12)


def test_entropy_is_zero_and_not_nan_where_probabilities_vanish():
    for logits in ([[0.0, -1e5]], [[0.0, -math.inf]], [[1e30, -1e30]]):
        assert losses.scores.SCORES["ES"](torch.tensor(logits)).tolist() == [0.0]


def test_each_head_has_its_papers_score():
    expected = {"softmax": "MPS", "isomax": "ES", "isomaxplus": "MDS", "dismax": "MMLES", "dismax_nofpr": "MMLES"}
    logits = torch.randn(7, C)
    for name, score in expected.items():
        head, _ = build(name)
        assert head.score_type == score
        assert head.scores(logits).equal(losses.scores.SCORES[score](logits))


def test_prototypes_start_as_published():
    assert (losses.IsoMaxLossFirstPart(8, 3).prototypes == 0).all()
    torch.manual_seed(0)
    head = losses.DisMaxLossFirstPart(500, 100)
    assert head.prototypes.mean().abs() < 0.02
    assert head.prototypes.std().item() == pytest.approx(1, abs=0.02)
    assert head.distance_scale.tolist() == head.temperature.tolist() == [1.0]


def test_criteria_do_not_own_the_heads_parameters():
    for name in LOSSES:
        _, criterion = build(name)
        assert not list(criterion.parameters())
        assert not criterion.state_dict()


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
def test_thresholds_keep_at_least_the_rate(count, dtype):
    head, _ = build("dismax", torch.float32)
    with pytest.raises(RuntimeError, match="no thresholds"):
        head.threshold()
    scores = torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=dtype)
    for given in (scores, scores.round(decimals=1), 1e9 * scores):  # with ties; too large for float32 to tell apart from their like
        head.set_thresholds(given)
        assert head.threshold(1.0) == pytest.approx(given.min().item())
        for tpr in (1, 0.999, 0.95, 0.93, 0.9, 0.5, 0.0):
            assert (given >= head.threshold(tpr)).float().mean() >= tpr
    for bad in (torch.tensor([]), torch.tensor([1.0, math.nan])):
        with pytest.raises(ValueError, match="finite"):
            head.set_thresholds(bad)


def test_state_dicts_of_the_authors_and_of_linear_layers_load():
    head = losses.DisMaxLossFirstPart(D, C)
    for shape in ((), (1,)):
        state = {"prototypes": torch.randn(C, D), "distance_scale": torch.full(shape, 2.0), "temperature": torch.full(shape, 0.1)}
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


def test_wrong_shapes_and_names_say_so():
    head, criterion = build("dismax")
    with pytest.raises(ValueError, match=r"\[B, 5\], got \[2, 6\]"):
        head(torch.zeros(2, 6))
    for targets in (torch.eye(C), torch.zeros(C), torch.zeros(C, 1).long()):
        with pytest.raises(ValueError, match=r"class indices \[B\]"):
            criterion(torch.zeros(C, C), targets)
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):  # as torch has it, in the mosaics' half too
        fpr.fractional_targets(torch.tensor([0, 1, 2, C]), C, torch.float32)
    with pytest.raises(ValueError, match=r"num_features.*got 0 and 3"):
        losses.DisMaxLossFirstPart(0, 3)
    with pytest.raises(ValueError, match="'dismaxx'.*softmax, isomax"):
        losses.get_loss("dismaxx")


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
