"""Scaled Cosine, GODIN, DUQ and SNGP: their equations recomputed by another route in float64, and
their known limits.
"""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.datasets import make_moons
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from torch import nn
from torch.utils.checkpoint import checkpoint

import losses
from data.batches import Normalizer, TrainingBatches
from data.images import Images
from experiment.recipes import RECIPES
from losses import LOSSES, godin, sngp
from losses.spectral import bound_convolutions
from models import build_model
from tests.heads import B, C, D, batch, build
from training.trainer import Trainer


def normalized(module, features, training):
    """PredictedScale's definition, in numpy."""
    values = (
        features @ module.linear.weight.detach().numpy().T + module.linear.bias.detach().numpy()
    )
    norm = module.norm
    mean, variance = (
        (values.mean(0), values.var(0))
        if training
        else (norm.running_mean.numpy(), norm.running_var.numpy())
    )
    return (values - mean) / np.sqrt(
        variance + norm.eps
    ) * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def trained_a_little(head):
    """The head, its batch norms away from where they start."""
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.constant_(module.weight, 1.3)
            nn.init.constant_(module.bias, -0.4)
            nn.init.constant_(module.running_mean, 0.2)
            nn.init.constant_(module.running_var, 0.7)
    return head


@pytest.mark.parametrize("training", [True, False])
def test_scaled_cosine_is_the_definition(training):
    head = trained_a_little(build("scaledcosine")[0]).train(training)
    features, _ = batch()
    scale = np.exp(normalized(head.scale, features.numpy(), training))
    cosine = cosine_similarity(features.numpy(), head.weight.detach().numpy())
    outputs = head.named_outputs(features)
    np.testing.assert_allclose(outputs["logits"].detach(), scale * cosine, rtol=1e-10)
    assert (np.abs(outputs["logits"].detach().numpy()) <= scale * (1 + 1e-12)).all()
    np.testing.assert_allclose(head.scores(outputs).detach(), cosine.max(1), rtol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["godin", "godin_inner", "godin_euclidean"])
def test_godin_is_the_definition(name, training):
    head = trained_a_little(build(name)[0]).train(training)
    features, _ = batch()
    f, w = features.numpy(), head.weight.detach().numpy()
    if name == "godin":
        h = cosine_similarity(f, w)
    elif name == "godin_inner":
        h = f @ w.T + head.bias.detach().numpy()
    else:
        h = -((f[:, None] - w[None]) ** 2).mean(2)
    g = expit(normalized(head.divisor, f, training))
    outputs = head.named_outputs(features)
    np.testing.assert_allclose(outputs["logits"].detach(), h / g, rtol=1e-10)
    for temperature in (1.0, 0.3):  # neither score depends on it
        scores = head.all_scores(outputs, temperature)
        np.testing.assert_allclose(scores["max h"].detach(), h.max(1), rtol=1e-10)
        np.testing.assert_allclose(scores["g"].detach(), g[:, 0], rtol=1e-10)


def test_godins_dropout_takes_features_in_training_only():
    head = LOSSES["godin_dropout"].head(1000, 3)
    features, seen = torch.ones(50, 1000), []
    head.divisor.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    head(features)
    head.eval()(features)
    assert (seen[0] == 0).float().mean().item() == pytest.approx(godin.DROPOUT, abs=0.01)
    assert seen[1].equal(features)
    with pytest.raises(ValueError, match="form is one of inner, euclidean, cosine, got 'l1'"):
        losses.GODINLossFirstPart(4, 3, form="l1")


@pytest.mark.parametrize("name", ["godin", "godin_inner", "godin_euclidean"])
def test_godins_rows_start_at_a_length_of_about_1_41(name):
    head = LOSSES[name].head(512, 100)
    assert head.weight.norm(dim=1).mean().item() == pytest.approx(2**0.5, rel=0.02)
    assert head.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert (head.bias is None) == (name != "godin_inner")
    assert head.bias is None or (head.bias == 0).all()


def test_godins_euclidean_form_starts_near_the_loss_of_ten_equal_probabilities():
    """With the sum over the dimensions it began at 11.1, and logits of large networks became
    infinite.
    """
    head, criterion = build("godin_euclidean", torch.float32, features=512, classes=10)
    features = torch.randn(256, 512, generator=torch.Generator().manual_seed(0)).relu()
    assert criterion(head(features), torch.arange(256) % 10).item() == pytest.approx(
        math.log(10), abs=0.05
    )


UNDECAYED = {
    "scaledcosine": {"weight"},
    "godin": {"weight"},
    "godin_inner": {"weight", "bias"},
    "sngp": {"weight"},
}


@pytest.mark.parametrize("name", LOSSES)
def test_weight_decay_is_for_the_parameters_that_the_papers_say(name):
    model = LOSSES[name].wrap(build_model("smallcnn", C, LOSSES[name].head))
    groups = LOSSES[name].criterion(model.classifier).parameter_groups(model, 1e-4)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    grouped = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(names.values())
    without = {
        names[id(parameter)]
        for group in groups
        if group["weight_decay"] == 0
        for parameter in group["params"]
    }
    expected = UNDECAYED.get(name.replace("_dropout", "").replace("_euclidean", ""), set())
    assert without == {f"classifier.{key}" for key in expected}


@pytest.mark.parametrize("name", ["scaledcosine", "godin", "sngp"])
def test_a_score_of_more_than_logits_says_what_it_needs(name):
    head, _ = build(name)
    head.eval().temperature.fill_(0.3)
    features, _ = batch()
    outputs = head.named_outputs(features)
    torch.testing.assert_close(head.scores(outputs), head.all_scores(outputs, 0.3)[head.score_type])
    if name == "sngp":  # its score is of logits
        torch.testing.assert_close(head.scores(head(features)), head.scores(outputs))
    else:
        with pytest.raises(TypeError, match="besides the logits.*named_outputs"):
            head.scores(head(features))


def test_all_scores_of_sngp_want_the_outputs_of_evaluation_mode():
    head, _ = build("sngp")
    features, _ = batch()
    with pytest.raises(TypeError, match="needs 'variance' besides the logits"):
        head.all_scores(head.named_outputs(features), 1.0)


@pytest.mark.parametrize("name", ["godin", "godin_inner", "scaledcosine"])
@pytest.mark.parametrize("z", [-29.0, -25.0, 29.0])
def test_gradients_stay_finite_at_extreme_predicted_numbers(name, z):
    head, criterion = build(name, torch.float32)
    norm = getattr(head, "scale" if name == "scaledcosine" else "divisor").norm
    nn.init.constant_(norm.bias, z)
    nn.init.constant_(norm.weight, 0.1)
    features, targets = batch(torch.float32)
    features.requires_grad_()
    criterion(head(features), targets).backward()
    assert all(
        gradient.isfinite().all()
        for gradient in (features.grad, *(p.grad for p in head.parameters()))
    )


@pytest.mark.parametrize("name", ["scaledcosine", "godin"])
def test_one_image_trains_with_the_running_statistics(name):
    head = trained_a_little(build(name)[0])
    features, _ = batch()
    alone = head.train()(features[:1])
    torch.testing.assert_close(alone, head.eval()(features)[:1])


@pytest.mark.parametrize("name", ["scaledcosine", "godin", "godin_inner", "godin_euclidean"])
@pytest.mark.parametrize("factor", [1e9, -1e9])
def test_logits_far_from_training_stay_finite(name, factor):
    head = build(name, torch.float32)[0].eval()
    features, _ = batch(torch.float32)
    outputs = head.named_outputs(factor * features)
    assert all(value.isfinite().all() for value in outputs.values())
    assert all(score.isfinite().all() for score in head.all_scores(outputs, 0.001).values())


def test_duq_starts_as_its_reference_does():
    torch.manual_seed(0)
    head = LOSSES["duq"].head(128, 10)
    assert head.weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert head.weight.std().item() == pytest.approx((2 / (10 * 128)) ** 0.5, rel=0.01)
    assert (head.counts == 13).all()
    assert (head.sums / head.counts[:, None]).std().item() == pytest.approx(0.05, rel=0.1)
    # Not so far from the centroids that no gradient is left. With weights √C larger all were below
    # 1e-6.
    features = build_model("resnet10", 10, nn.Linear).forward_features(torch.randn(50, 3, 32, 32))
    kernels = LOSSES["duq"].head(512, 10)(features).exp()
    assert kernels.median() > 1e-3


def test_duqs_penalty_has_a_finite_gradient_where_no_kernel_is_above_0():
    model, criterion = small_network("duq")
    inputs = (100 * torch.randn(3, 3, 4, 4, dtype=torch.float64)).requires_grad_()
    with torch.no_grad():
        model.classifier.weight.mul_(1e4)
    penalty = criterion.penalty(inputs, model(inputs))
    assert penalty.item() == 0.5
    penalty.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def kernel(head, features):
    """DUQ's K [B, C], class by class."""
    centroids = (head.sums / head.counts[:, None]).numpy()
    columns = []
    for weight, centroid in zip(head.weight.detach().numpy(), centroids, strict=True):
        difference = features.numpy() @ weight.T - centroid
        columns.append(np.exp(-(difference**2).mean(1) / (2 * 0.1**2)))
    return np.stack(columns, 1)


def near_its_centroids():
    head, criterion = build("duq")
    features, targets = batch()
    features = 0.1 * features  # where the kernels are well above 0
    for _ in range(300):
        head(features)
        head.move_centroids(targets)
    return head, criterion, features, targets


def test_duq_is_the_definition():
    head, criterion, features, targets = near_its_centroids()
    expected = kernel(head, features)
    found = head(features).exp().detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert ((found > 0) & (found <= 1)).all()
    own = np.eye(C)[targets]
    loss = -(own * np.log(expected) + (1 - own) * np.log(1 - expected)).mean()
    assert criterion(head(features), targets).item() == pytest.approx(loss, rel=1e-9)


def test_duqs_kernel_is_1_at_a_centroid_and_its_loss_stays_finite_there():
    head, criterion = build("duq")
    centroid = head.sums[1] / head.counts[1]
    features = torch.linalg.solve(head.weight[1].detach(), centroid)[None]
    logits = head(features)
    assert logits[0, 1].exp().item() == pytest.approx(1, abs=1e-12)
    # K = 1 for each class, exactly.
    certain = torch.zeros(1, C, dtype=torch.float64, requires_grad=True)
    loss = criterion(certain, torch.tensor([1]))
    loss.backward()
    assert loss.isfinite()
    assert certain.grad.isfinite().all()
    far = head(1e6 * features)
    assert far.isfinite().all()
    assert (far.exp() == 0).all()  # which is why the score is the logarithm


def test_duqs_centroids_are_exponential_averages():
    head, _ = build("duq")
    sums, counts = head.sums.clone().numpy(), head.counts.clone().numpy()
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        features = torch.randn(B, D, generator=generator, dtype=torch.float64)
        targets = torch.randint(C, (B,), generator=generator)
        head(features)
        head.move_centroids(targets)
        for j in range(C):
            members = features[targets == j].numpy() @ head.weight[j].detach().numpy().T
            counts[j] = 0.999 * counts[j] + 0.001 * len(members)
            sums[j] = 0.999 * sums[j] + 0.001 * members.sum(0)
    np.testing.assert_allclose(head.counts, counts, rtol=1e-12)
    np.testing.assert_allclose(head.sums, sums, rtol=1e-9)


def small_network(name):
    torch.manual_seed(0)
    model = LOSSES[name].wrap(build_model("smallcnn", C, LOSSES[name].head)).double()
    return model, LOSSES[name].criterion(model.classifier)


def test_duqs_penalty_is_that_of_the_gradient_by_differences():
    model, criterion = small_network("duq")
    inputs = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    for _ in range(3000):  # until the kernels are above 0
        model(inputs)
        criterion.classifier.move_centroids(torch.arange(3))

    def total(inputs):
        return model(inputs).exp().sum().item()

    gradient, step = torch.zeros_like(inputs), 1e-6
    for place in np.ndindex(*inputs.shape):
        above, below = inputs.clone(), inputs.clone()
        above[place] += step
        below[place] -= step
        gradient[place] = (total(above) - total(below)) / (2 * step)
    expected = 0.5 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    watched = inputs.clone().requires_grad_()
    penalty = criterion.penalty(watched, model(watched))
    assert gradient.abs().max() > 1e-3
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-4)
    penalty.backward()
    assert next(model.parameters()).grad.abs().sum() > 0  # it is trained


def test_duqs_centroids_move_by_the_embeddings_that_a_step_was_trained_with():
    model, criterion = small_network("duq")
    inputs, targets = torch.randn(B, 3, 8, 8, dtype=torch.float64), torch.arange(B) % C
    expected = LOSSES["duq"].head(64, C).double()
    expected.load_state_dict(model.classifier.state_dict())
    expected(copy.deepcopy(model).train().forward_features(inputs))
    expected.move_centroids(targets)
    logits = model.train()(inputs)
    with torch.no_grad():
        model.classifier.weight.add_(1)  # the optimizer's step
    criterion.after_step(model, inputs, targets, logits)
    torch.testing.assert_close(model.classifier.sums, expected.sums)
    with pytest.raises(RuntimeError, match="forward pass of the same images in training mode"):
        criterion.after_step(model, inputs, targets, logits)


@pytest.mark.parametrize(
    "model_name", [pytest.param("resnet10", marks=pytest.mark.slow), "densenetbc22"]
)
def test_duq_trains_at_the_papers_learning_rate(model_name):
    """Centroids by the network in evaluation mode, or the loss summed over classes, made it diverge
    within three steps.
    """
    torch.manual_seed(0)
    model = build_model(model_name, 10, LOSSES["duq"].head)
    criterion = LOSSES["duq"].criterion(model.classifier)
    images, labels = (
        torch.randn(100, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.arange(100) % 10,
    )
    images[:, 0] += labels[:, None, None] / 3
    pixels, device = ((images + 5) * 20).clamp(0, 255).byte(), images.device
    batches = TrainingBatches(
        Images(pixels, labels, ()), Normalizer((0.4,) * 3, (0.1,) * 3, device), 50, 0, False, device
    )
    trainer = Trainer(model, criterion, batches, RECIPES["paper"], 100, 1, "fp32")
    losses_seen = [trainer.run_epoch(lambda *_: None).loss for _ in range(15)]
    assert losses_seen[-1] < 0.5 * losses_seen[0]


def phi(head, features):
    """SNGP's random features, in numpy."""
    angles = features.numpy() @ head.frequencies.numpy().T / head.length_scale + head.phases.numpy()
    return np.sqrt(2 / len(head.phases)) * np.cos(angles)


def seen_batches(head, criterion):
    """Two batches that went through an epoch of training, and a third that did not."""
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
def test_sngp_is_the_definition(length_scale, factor):
    head, criterion = build("sngp")
    assert (head.length_scale, head.mean_field) == (20, 20)
    head.length_scale, head.mean_field = length_scale, factor
    seen, other = seen_batches(head, criterion)
    seen, p = phi(head, seen), phi(head, other)
    # As in the reference code: features without √(2/M), and a ridge of 1.
    longer = math.sqrt(seen.shape[1] / 2)
    covariance = np.linalg.inv(np.eye(seen.shape[1]) + longer**2 * seen.T @ seen)
    variance = np.einsum("bm,mn,bn->b", longer * p, covariance, longer * p)
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
    kept = head.covariance.clone()
    head(other)  # evaluation adds no image
    criterion.after_epoch(1)
    assert head.covariance.equal(kept)
    criterion.before_epoch(2)
    assert head.precision.equal(2 / len(kept) * torch.eye(len(kept), dtype=torch.float64))


def test_sngp_of_averaged_weights_gets_a_covariance_of_its_own_as_the_docstring_says():
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
    seen = phi(head, averaged.module[0](images).detach())
    expected = np.linalg.inv(2 / seen.shape[1] * np.eye(seen.shape[1]) + seen.T @ seen)
    np.testing.assert_allclose(head.covariance, expected, rtol=1e-6, atol=1e-6 * expected.max())


def test_sngps_ridge_survives_tens_of_thousands_of_images_in_float32():
    """A plain float32 sum is off by more than the ridge, in the directions that are hardly seen."""
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
    kept = head.precision.double() - head.rounding.double()
    assert torch.linalg.eigvalsh(kept)[0].item() == pytest.approx(
        torch.linalg.eigvalsh(exact)[0].item(), rel=0.01
    )
    other = torch.randn(50, 64)
    p = torch.from_numpy(phi(head, other)).double()
    variance = torch.einsum("bm,mn,bn->b", p, torch.linalg.inv(exact), p)
    torch.testing.assert_close(
        head.eval().named_outputs(other)["variance"].double(), variance, rtol=1e-3, atol=0
    )


def test_sngps_constants_are_those_of_its_reference():
    for classes, factor in ((10, 20.0), (99, 20.0), (100, 7.5), (1000, 7.5)):
        assert LOSSES["sngp"].head(D, classes).mean_field == factor
    torch.manual_seed(0)
    head = LOSSES["sngp"].head(64, 10)
    assert head.phases.min() >= 0
    assert 6 < head.phases.max() <= 2 * math.pi
    # Glorot's bound for features √(M/2) times as long, which have the same logits with weights so
    # much smaller.
    bound = math.sqrt(6 / (1024 + 10)) * math.sqrt(1024 / 2)
    assert 0.99 * bound < head.weight.abs().max() <= bound
    assert head.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize(("count", "dimensions"), [(1024, 64), (1024, 640), (10, 3)])
def test_frequencies_are_orthogonal_directions_with_the_lengths_of_normal_vectors(
    count, dimensions
):
    torch.manual_seed(0)
    frequencies = sngp.orthogonal_frequencies(count, dimensions)
    assert frequencies.shape == (count, dimensions)
    for block in nn.functional.normalize(frequencies).split(dimensions):
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)), atol=1e-5, rtol=0)
    if count == 1024:
        assert frequencies.square().sum(1).mean().item() == pytest.approx(dimensions, rel=0.05)
        assert frequencies.norm(dim=1).std() > 0.5  # χ's is about √½


def test_sngps_random_features_approximate_the_rbf_kernel():
    head, _ = build("sngp")
    features, _ = batch()
    features = head.length_scale * features
    p = phi(head, features)
    expected = rbf_kernel(features.numpy(), gamma=1 / (2 * head.length_scale**2))
    # Four standard deviations.
    assert np.abs(p @ p.T - expected).max() < 4 / math.sqrt(sngp.RANDOM_FEATURES)


def test_sngps_uncertainty_grows_away_from_two_moons():
    torch.manual_seed(0)
    points, labels = make_moons(500, noise=0.1, random_state=0)
    points, labels = torch.tensor(points, dtype=torch.float32), torch.tensor(labels)
    head = losses.SNGPLossFirstPart(2, 2, length_scale=2.0)  # two moons are about 2 long
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
    inside = head.named_outputs(points)["variance"]
    assert rings == sorted(rings)
    assert inside.max() < rings[2]
    assert rings[0] < 1e-3 * rings[-1]
    assert rings[-1] < 1.3 * sngp.RANDOM_FEATURES / 2  # the prior's, (M/2)·φᵀφ, is M/2 on average


def dense_norm(convolution, weight, size):
    """The convolution's spectral norm, from the whole matrix of images of this size to images."""
    basis = torch.eye(convolution.in_channels * size**2, dtype=weight.dtype).view(
        -1, convolution.in_channels, size, size
    )
    images = nn.functional.conv2d(basis, weight, None, convolution.stride, convolution.padding)
    return torch.linalg.matrix_norm(images.flatten(1), 2).item()


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_convolutions_are_held_at_the_bound_and_left_alone_below_it(kernel_size, stride):
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, kernel_size, stride, padding=kernel_size // 2).double()
    norm = dense_norm(convolution, convolution.weight.detach(), 16)
    for bound in (0.5 * norm, 2 * norm):
        held = bound_convolutions(nn.Sequential(copy.deepcopy(convolution)), bound)
        # The first iterations have it nearly right, further ones exactly.
        assert dense_norm(convolution, held[0].weight.detach(), 16) == pytest.approx(
            min(norm, bound), rel=0.15
        )
        for _ in range(200):
            held(torch.zeros(1, 2, 16, 16, dtype=torch.float64))
        assert dense_norm(convolution, held[0].weight.detach(), 16) == pytest.approx(
            min(norm, bound), rel=1e-3
        )
        state = {name: value.clone() for name, value in held.state_dict().items()}
        held.eval()(torch.zeros(1, 2, 16, 16, dtype=torch.float64))
        assert all(value.equal(state[name]) for name, value in held.state_dict().items())


@pytest.mark.parametrize("scale", [1e-12, 1e10])
def test_a_convolution_of_any_scale_or_of_zeros_is_bounded(scale):
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, 3, padding=1)
    nn.init.zeros_(convolution.weight)
    held = bound_convolutions(nn.Sequential(convolution), 1.0)
    with torch.no_grad():
        held[0].parametrizations.weight.original.normal_().mul_(scale)
    for _ in range(50):
        held(torch.zeros(1, 2, 8, 8))
    unbounded = dense_norm(
        convolution, held[0].parametrizations.weight.original.detach().double(), 16
    )
    assert dense_norm(convolution, held[0].weight.detach().double(), 16) == pytest.approx(
        min(unbounded, 1), rel=1e-2
    )


def test_convolutions_that_pad_otherwise_are_refused():
    for how in ({"padding": "same"}, {"padding": 1, "padding_mode": "circular"}):
        with pytest.raises(ValueError, match="padded by a number of zeros"):
            bound_convolutions(nn.Sequential(nn.Conv2d(2, 3, 3, **how)))


@pytest.mark.parametrize("model_name", ["densenetbc22", "resnet10", "wideresnet101"])
def test_sngp_bounds_every_convolution_and_other_losses_none(model_name):
    for name in ("sngp", "softmax"):
        model = LOSSES[name].wrap(build_model(model_name, C, LOSSES[name].head))
        kinds = {
            nn.utils.parametrize.is_parametrized(module)
            for module in model.modules()
            if isinstance(module, nn.Conv2d)
        }
        assert kinds == {name == "sngp"}


class Recomputed(nn.Module):
    """A small network that keeps no activations of its parts, but computes them again in the
    backward pass.
    """

    def __init__(self, name, use_reentrant):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, D))
        bound_convolutions(self.body, 0.1)
        self.classifier = LOSSES[name].head(D, C)
        self.use_reentrant = use_reentrant  # None: without

    def forward(self, x):
        for part in (self.body, self.classifier):
            x = (
                part(x)
                if self.use_reentrant is None
                else checkpoint(part, x, use_reentrant=self.use_reentrant)
            )
        return x


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "dismax"])
def test_activation_checkpointing_counts_no_image_twice(name, use_reentrant):
    results = []
    for how in (None, use_reentrant):
        network = Recomputed(name, how)
        criterion = LOSSES[name].criterion(network.classifier)
        torch.manual_seed(1)
        targets = torch.arange(B) % C
        for inputs in torch.randn(2, B, 3, 6, 6):
            criterion(network(inputs.requires_grad_()), targets).backward()
            criterion.after_step(network, inputs, targets, torch.zeros(B, C))
        gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
        results.append(
            (gradients, {**network.state_dict(), "classifier.thresholds": torch.zeros(1)})
        )
    torch.testing.assert_close(*results)
