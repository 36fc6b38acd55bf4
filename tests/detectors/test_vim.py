"""ViM, against its definition and pytorch-ood 0.4."""

import numpy as np
import pytest
import torch
from pytorch_ood import detector as pytorch_ood
from scipy.special import logsumexp, softmax
from torch import nn

from detectors.vim import fit_vim, principal_dimension
from tests.detectors.sets import C, feature_data, feature_set, linear_head, random_features


def test_vim_equals_its_definition_and_pytorch_ood():
    head = linear_head(12).double()
    train, test = random_features(200, 12).double(), random_features(40, 12, seed=1).double()
    fitted = fit_vim(feature_data(train, head))
    scores = fitted(feature_set(test, head))

    w, b = head.weight.detach().numpy(), head.bias.detach().numpy()
    origin = np.linalg.lstsq(w, -b, rcond=None)[0]  # the shortest solution
    principal = np.linalg.svd(train.numpy() - origin)[2][:6]

    def residual(f):
        f = f.numpy() - origin
        return np.linalg.norm(f - f @ principal.T @ principal, axis=1)

    alpha = (train.numpy() @ w.T + b).max(1).mean() / residual(train).mean()
    logits = test.numpy() @ w.T + b
    np.testing.assert_allclose(
        scores, logsumexp(logits, axis=1) - alpha * residual(test), rtol=1e-9
    )
    assert fitted.parameters == {"dimension": 6, "alpha": pytest.approx(alpha)}
    probability = softmax(
        np.concatenate([logits, alpha * residual(test)[:, None]], axis=1), axis=1
    )[:, -1]
    np.testing.assert_array_equal(np.argsort(probability), np.argsort(-scores.numpy()))
    theirs = pytorch_ood.ViM(None, d=6, w=head.weight.detach(), b=head.bias.detach())
    theirs.fit_features(train, torch.zeros(200).long())
    np.testing.assert_allclose(
        scores, -np.asarray(theirs.predict_features(test)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("features", "dimension"),
    [(4096, 1000), (2048, 1000), (2047, 512), (768, 512), (767, 383), (64, 32)],
)
def test_the_subspace_has_the_papers_dimension(features, dimension):
    assert principal_dimension(features) == dimension


def test_a_head_without_bias_scores_as_one_with_a_bias_of_zero():
    torch.manual_seed(0)
    bare, zero = nn.Linear(12, C, bias=False), nn.Linear(12, C)
    zero.load_state_dict({**bare.state_dict(), "bias": torch.zeros(C)})
    train = random_features(50, 12)
    scores = [fit_vim(feature_data(train, head))(feature_set(train, head)) for head in (bare, zero)]
    torch.testing.assert_close(*scores)


def test_training_features_without_residual_are_an_error():
    torch.manual_seed(0)
    head, train = nn.Linear(12, C), random_features(50, 12)
    for flat in (train[:6], torch.ones(50, 12), torch.cat([train[:, :5], torch.zeros(50, 7)], 1)):
        with pytest.raises(
            ValueError, match=f"more than 6 dimensions, those of {len(flat)} images"
        ):
            fit_vim(feature_data(flat, head))
