"""The study of the prototypes' start: its plugin, and the answers by the rules of its page."""

import math
from unittest import mock

import pytest
import torch

from losses import LOSSES, DisMaxLossSecondPart
from models import build_model
from results.prototypes import answer

# The plugin adds losses, which no other test may see.
with mock.patch.dict(LOSSES):
    from results.prototypes import starts, turned  # noqa: F401

    HEADS = {name: loss.head for name, loss in LOSSES.items()}


def network(loss, seed):
    torch.manual_seed(seed)
    return build_model("wideresnet102", 10, HEADS[loss])


def test_short_prototypes_have_the_usual_directions_and_turn_faster():
    heads = [network(loss, 1).classifier.train() for loss in ("dismax", "dismax_short")]
    usual, short = (torch.nn.functional.normalize(head.prototypes.detach()) for head in heads)
    torch.testing.assert_close(usual, short)
    features, labels = torch.rand(64, 128), torch.arange(64) % 10
    turns = []
    for head in heads:
        criterion = DisMaxLossSecondPart(head, regularization=None)
        criterion(head(features), labels).backward()
        with torch.no_grad():
            after = torch.nn.functional.normalize(head.prototypes - 1e-3 * head.prototypes.grad)
        turns.append((after - usual).double().norm(dim=1).mean())
    assert turns[1] / turns[0] == pytest.approx(128, rel=0.2)


def test_the_prototypes_of_a_seed_are_those_of_its_run_and_nothing_else_changes():
    ours, usual = network("dismax_start3", 1), network("dismax", 1)
    assert ours.classifier.prototypes.equal(network("dismax", 3).classifier.prototypes)
    for name, value in usual.state_dict().items():
        if "classifier" not in name:
            assert ours.state_dict()[name].equal(value), name
    config = {"seed": 3, "model": "wideresnet102", "loss": "dismax"}
    directions = torch.nn.functional.normalize(ours.classifier.prototypes.detach())
    assert turned.directions_at_start(config, 10).equal(directions)


def record(accuracy, *aurocs):
    """Return a record with the accuracy and the AUROCs of MMLES in percent."""
    return {
        "classification": {"test": {"t1": {"accuracy": accuracy / 100}}},
        "detection": {
            title: {"title": title, "scores": {"calibrated": {"MMLES": {"auroc": auroc / 100}}}}
            for title, auroc in zip(answer.SETS, aurocs, strict=True)
        },
    }


USUAL = record(80, 70, 60, 75, 75)


BETTER = record(80, 90, 90, 90, 90)


@pytest.mark.parametrize(
    ("last", "helps"),
    [
        (record(78.6, 61, 61, 61, 61), True),  # 0.47 points less accurate on average
        (record(78.4, 61, 61, 61, 61), False),  # 0.53 points
        (record(80, 90, 90, 90, 59.9), False),  # another set is worse than the worst was
    ],
)
def test_the_short_start_helps_by_the_rules_of_the_page(last, helps):
    said = "the short start helps" if helps else "the short start does not help"
    assert answer.verdict([(USUAL, BETTER), (USUAL, BETTER), (USUAL, last)]) == said
    assert answer.verdict([(USUAL, BETTER)] * 2) == "not decided: 2 of 3 seeds have both runs"


@pytest.mark.parametrize(
    ("swapped", "expected"),
    [
        ((51, 51, 49, 49), "the prototypes"),
        ((49, 49, 51, 51), "the body or the batches"),
        ((51, 49, 49, 49), "neither alone"),
        ((51, 51, 49, math.nan), "not decided"),
    ],
)
def test_the_cause_follows_the_rules_of_the_page(monkeypatch, swapped, expected):
    pairs = ((1, 3), (2, 3), (3, 1), (3, 2))  # seeds of body and prototypes
    found = dict(zip(pairs, swapped, strict=True))
    monkeypatch.setattr(answer, "on_svhn", lambda runs, *seeds: found[seeds])
    assert answer.cause({}) == expected
