"""Detection scores of logits."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

import losses
from tests.heads import C, batch, build


def test_scores_equal_their_definitions():
    logits = np.random.default_rng(0).normal(size=(6, 5)) * 3
    p = softmax(logits, axis=1)
    entropy = (p * np.log(p)).sum(1)
    highest, mean = logits.max(1), logits.mean(1)
    expected = {"MPS": p.max(1), "ES": entropy, "MDS": highest, "MMLS": highest + mean}
    expected |= {"MMLES": highest + mean + entropy, "MMLEPS": highest + mean + entropy + p.max(1)}
    assert list(expected) == list(losses.scores.SCORES)
    for name, values in expected.items():
        np.testing.assert_allclose(
            losses.scores.SCORES[name](torch.tensor(logits)), values, rtol=1e-12
        )


def test_the_entropy_of_vanishing_probabilities_is_0_and_not_nan():
    for logits in ([[0.0, -1e5]], [[0.0, -math.inf]], [[1e30, -1e30]]):
        assert losses.scores.SCORES["ES"](torch.tensor(logits)).tolist() == [0.0]


def test_each_head_has_its_papers_score():
    expected = {
        "softmax": "MPS",
        "isomax": "ES",
        "isomaxplus": "MDS",
        "dismax": "MMLES",
        "dismax_nofpr": "MMLES",
        "duq": "MDS",
    }
    logits = torch.randn(7, C)
    for name, score in expected.items():
        head, _ = build(name)
        assert head.score_type == score
        assert head.scores(logits).equal(losses.scores.SCORES[score](logits))


def test_a_nan_or_infinite_logit_gives_the_score_nan():
    for logits in ([0.0, math.nan], [math.nan] * 2, [math.inf, 0.0], [-math.inf] * 2):
        scores = {
            name: score(torch.tensor(logits)).item() for name, score in losses.scores.SCORES.items()
        }
        if not any(map(math.isnan, logits)):
            del scores["MDS"], scores["MMLS"]  # they may be infinite for infinite logits
        assert all(map(math.isnan, scores.values())), scores


@pytest.mark.parametrize("name", ["scaledcosine", "godin", "sngp"])
def test_a_score_of_more_than_logits_raises_an_error_for_logits(name):
    head, _ = build(name)
    head.eval().temperature.fill_(0.3)
    features, _ = batch()
    outputs = head.named_outputs(features)
    torch.testing.assert_close(head.scores(outputs), head.all_scores(outputs, 0.3)[head.score_type])
    if name == "sngp":  # its score needs only logits
        torch.testing.assert_close(head.scores(head(features)), head.scores(outputs))
    else:
        with pytest.raises(TypeError, match="besides the logits.*named_outputs"):
            head.scores(head(features))


def test_all_scores_of_sngp_need_the_outputs_of_evaluation_mode():
    head, _ = build("sngp")
    features, _ = batch()
    with pytest.raises(TypeError, match="needs 'variance' besides the logits"):
        head.all_scores(head.named_outputs(features), 1.0)
