"""What all criteria share."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from losses import LOSSES
from models import build_model
from tests.heads import C, batch, build


@pytest.mark.parametrize("name", LOSSES)
def test_criteria_have_no_parameters(name):
    head, criterion = build(name)
    assert not list(criterion.parameters())
    assert not criterion.state_dict()
    assert criterion.classifier is head


@pytest.mark.parametrize(
    "targets",
    [torch.eye(C), torch.zeros(C), torch.zeros(C).cfloat(), torch.zeros(C, 1).long()],
)
def test_targets_that_are_not_class_indices_are_an_error(targets):
    _head, criterion = build("dismax")
    with pytest.raises(ValueError, match=r"class indices \[B\]"):
        criterion(torch.zeros(C, C), targets)


def test_logits_of_another_number_of_classes_are_an_error():
    _head, criterion = build("dismax")
    with pytest.raises(ValueError, match="the criterion got logits of 3 classes, its head has 4"):
        criterion(torch.zeros(2, 3), torch.zeros(2).long())


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def saved(value):
    written = io.BytesIO()
    torch.save(value, written)
    written.seek(0)
    return torch.load(written, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
@pytest.mark.parametrize("name", LOSSES)
def test_a_criterion_copied_with_its_network_uses_the_copied_head(name, copied):
    head, criterion = build(name)
    features, targets = batch()
    logits = head(features)
    # In either order.
    for other, loss in (copied((head, criterion)), copied((criterion, head))[::-1]):
        assert loss.classifier is other
        assert other is not head
        other.eval()
        torch.testing.assert_close(
            loss(logits, targets), nn.functional.cross_entropy(logits, targets)
        )
    assert copy.copy(criterion).classifier is head


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
def test_a_criterion_copied_without_its_network_has_no_head(copied):
    head, criterion = build("dismax")
    alone = copied(criterion)
    with pytest.raises(
        RuntimeError, match="this DisMaxLossSecondPart has lost its head.*make the criterion anew"
    ):
        alone(head(batch()[0]), batch()[1])


NO_DECAY = {
    "scaledcosine": {"weight"},
    "godin": {"weight"},
    "godin_inner": {"weight", "bias"},
    "sngp": {"weight"},
}


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_papers_parameters_have_no_weight_decay(name):
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
    expected = NO_DECAY.get(name.replace("_dropout", "").replace("_euclidean", ""), set())
    assert without == {f"classifier.{key}" for key in expected}


@pytest.mark.parametrize("name", NO_DECAY)
def test_frozen_parameters_are_in_no_group(name):
    head, criterion = build(name)
    head.requires_grad_(False)
    assert criterion.parameter_groups(head, 1e-4) == []
