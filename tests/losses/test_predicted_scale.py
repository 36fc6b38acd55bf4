"""The number that Scaled Cosine and GODIN predict from the features."""

import pytest
import torch
from torch import nn

from tests.heads import batch, build, with_changed_batch_norms


@pytest.mark.parametrize("name", ["godin", "godin_inner", "scaledcosine"])
@pytest.mark.parametrize("z", [-29.0, -25.0, 29.0])
def test_gradients_stay_finite_for_extreme_predictions(name, z):
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
def test_a_batch_of_one_image_uses_the_running_statistics(name):
    head = with_changed_batch_norms(build(name)[0])
    features, _ = batch()
    alone = head.train()(features[:1])
    torch.testing.assert_close(alone, head.eval()(features)[:1])


@pytest.mark.parametrize("name", ["scaledcosine", "godin", "godin_inner", "godin_euclidean"])
@pytest.mark.parametrize("factor", [1e9, -1e9])
def test_logits_of_extreme_features_stay_finite(name, factor):
    head = build(name, torch.float32)[0].eval()
    features, _ = batch(torch.float32)
    outputs = head.named_outputs(factor * features)
    assert all(value.isfinite().all() for value in outputs.values())
    assert all(score.isfinite().all() for score in head.all_scores(outputs, 0.001).values())
