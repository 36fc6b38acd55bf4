"""GODIN, against its definition in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics.pairwise import cosine_similarity

import losses
from losses import LOSSES, godin
from tests.heads import batch, build, predicted_scale, with_changed_batch_norms


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["godin", "godin_inner", "godin_euclidean"])
def test_godin_equals_its_definition(name, training):
    head = with_changed_batch_norms(build(name)[0]).train(training)
    features, _ = batch()
    f, w = features.numpy(), head.weight.detach().numpy()
    if name == "godin":
        h = cosine_similarity(f, w)
    elif name == "godin_inner":
        h = f @ w.T + head.bias.detach().numpy()
    else:
        h = -((f[:, None] - w[None]) ** 2).mean(2)
    g = expit(predicted_scale(head.divisor, f, training))
    outputs = head.named_outputs(features)
    np.testing.assert_allclose(outputs["logits"].detach(), h / g, rtol=1e-10)
    for temperature in (1.0, 0.3):  # neither score depends on it
        scores = head.all_scores(outputs, temperature)
        np.testing.assert_allclose(scores["max h"].detach(), h.max(1), rtol=1e-10)
        np.testing.assert_allclose(scores["g"].detach(), g[:, 0], rtol=1e-10)


def test_dropout_drops_features_in_training_only():
    head = LOSSES["godin_dropout"].head(1000, 3)
    features, inputs_seen = torch.ones(50, 1000), []
    head.divisor.register_forward_pre_hook(lambda _module, inputs: inputs_seen.append(inputs[0]))
    head(features)
    head.eval()(features)
    in_training, in_evaluation = inputs_seen
    assert (in_training == 0).float().mean().item() == pytest.approx(godin.DROPOUT, abs=0.01)
    assert in_evaluation.equal(features)


def test_an_unknown_form_is_an_error():
    with pytest.raises(ValueError, match="form is one of inner, euclidean, cosine, got 'l1'"):
        losses.GODINLossFirstPart(4, 3, form="l1")


@pytest.mark.parametrize("name", ["godin", "godin_inner", "godin_euclidean"])
def test_rows_of_the_weight_start_with_a_length_of_about_1_41(name):
    head = LOSSES[name].head(512, 100)
    assert head.weight.norm(dim=1).mean().item() == pytest.approx(2**0.5, rel=0.02)
    assert head.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert (head.bias is None) == (name != "godin_inner")
    assert head.bias is None or (head.bias == 0).all()


def test_the_euclidean_form_starts_near_the_loss_of_equal_probabilities():
    """With a sum over the dimensions it started at 11.1, and logits of large networks became
    infinite.
    """
    head, criterion = build("godin_euclidean", torch.float32, features=512, classes=10)
    features = torch.randn(256, 512, generator=torch.Generator().manual_seed(0)).relu()
    assert criterion(head(features), torch.arange(256) % 10).item() == pytest.approx(
        math.log(10), abs=0.05
    )
