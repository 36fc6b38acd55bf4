"""DUQ, against its definition in numpy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from experiment.recipes import RECIPES
from losses import LOSSES
from models import build_model
from tests.heads import B, C, D, batch, build
from training.trainer import Trainer


def kernel(head, features):
    """Return DUQ's K [B, C] in numpy, class by class."""
    centroids = (head.sums / head.counts[:, None]).numpy()
    columns = []
    for weight, centroid in zip(head.weight.detach().numpy(), centroids, strict=True):
        difference = features.numpy() @ weight.T - centroid
        columns.append(np.exp(-(difference**2).mean(1) / (2 * 0.1**2)))
    return np.stack(columns, 1)


def head_near_its_centroids():
    """Return a head, its criterion, and a batch whose features are near the centroids."""
    head, criterion = build("duq")
    features, targets = batch()
    features = 0.1 * features  # small, so that the kernels are well above 0
    for _ in range(300):
        head(features)
        head.move_centroids(targets)
    return head, criterion, features, targets


def small_network():
    """Return a small network with DUQ's head, and its criterion."""
    torch.manual_seed(0)
    model = build_model("smallcnn", C, LOSSES["duq"].head).double()
    return model, LOSSES["duq"].criterion(model.classifier)


def test_duq_equals_its_definition():
    head, criterion, features, targets = head_near_its_centroids()
    expected = kernel(head, features)
    kernels = head(features).exp().detach().numpy()
    np.testing.assert_allclose(kernels, expected, rtol=1e-9)
    assert ((kernels > 0) & (kernels <= 1)).all()
    own = np.eye(C)[targets]
    loss = -(own * np.log(expected) + (1 - own) * np.log(1 - expected)).mean()
    assert criterion(head(features), targets).item() == pytest.approx(loss, rel=1e-9)


def test_duq_is_initialised_as_in_the_reference_code():
    torch.manual_seed(0)
    head = LOSSES["duq"].head(128, 10)
    assert head.weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert head.weight.std().item() == pytest.approx((2 / (10 * 128)) ** 0.5, rel=0.01)
    assert (head.counts == 13).all()
    assert (head.sums / head.counts[:, None]).std().item() == pytest.approx(0.05, rel=0.1)
    # The embeddings are near enough to the centroids to have a gradient. With weights √C times as
    # large, all kernels were below 1e-6.
    features = build_model("resnet10", 10, nn.Linear).forward_features(torch.randn(50, 3, 32, 32))
    kernels = LOSSES["duq"].head(512, 10)(features).exp()
    assert kernels.median() > 1e-3


def test_the_kernel_is_1_at_a_centroid_and_the_loss_is_finite_there():
    head, criterion = build("duq")
    centroid = head.sums[1] / head.counts[1]
    features = torch.linalg.solve(head.weight[1].detach(), centroid)[None]
    logits = head(features)
    assert logits[0, 1].exp().item() == pytest.approx(1, abs=1e-12)
    # K is exactly 1 for each class.
    certain = torch.zeros(1, C, dtype=torch.float64, requires_grad=True)
    loss = criterion(certain, torch.tensor([1]))
    loss.backward()
    assert loss.isfinite()
    assert certain.grad.isfinite().all()
    far = head(1e6 * features)
    assert far.isfinite().all()
    assert (far.exp() == 0).all()  # so the score is the logarithm


def test_centroids_are_exponential_averages():
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


def test_centroids_are_updated_with_the_embeddings_of_the_training_step():
    model, criterion = small_network()
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


def test_the_penalty_equals_that_of_finite_differences():
    model, criterion = small_network()
    inputs = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    for _ in range(3000):  # the kernels are above 0 afterwards
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
    assert next(model.parameters()).grad.abs().sum() > 0  # the body is trained


def test_the_penalty_has_a_finite_gradient_if_all_kernels_are_0():
    model, criterion = small_network()
    inputs = (100 * torch.randn(3, 3, 4, 4, dtype=torch.float64)).requires_grad_()
    with torch.no_grad():
        model.classifier.weight.mul_(1e4)
    penalty = criterion.penalty(inputs, model(inputs))
    assert penalty.item() == 0.5
    penalty.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "model_name", [pytest.param("resnet10", marks=pytest.mark.slow), "densenetbc22"]
)
def test_duq_trains_at_the_papers_learning_rate(model_name):
    """It diverged within three steps if the centroids were those of the network in evaluation mode,
    or if the loss was summed over the classes.
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
