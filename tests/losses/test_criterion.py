"""What all criteria share."""

import pytest
import torch

from tests.heads import C, build


def test_hooks_keep_their_old_names_with_a_warning():
    _head, criterion = build("dismax")
    batch = torch.zeros(4, C), torch.arange(4)
    with pytest.warns(DeprecationWarning, match="labelled is now named unmixed"):
        assert criterion.labelled(*batch) == batch
    with pytest.warns(DeprecationWarning, match="undecayed is now named no_decay_parameters"):
        assert criterion.undecayed() == []


def test_a_subclass_may_define_a_hook_by_its_old_name():
    head, criterion = build("dismax")
    batch = torch.zeros(4, C), torch.arange(4)
    with pytest.warns(DeprecationWarning, match="Own.undecayed is now named no_decay_parameters"):

        class Own(type(criterion)):
            def undecayed(self):
                return list(self.classifier.parameters())

            def labelled(self, logits, targets):
                return super().labelled(logits, targets)

    own = Own(head)
    assert own.parameter_groups(head, 0.1)[-1]["weight_decay"] == 0.0
    with pytest.warns(DeprecationWarning, match="labelled is now named unmixed"):
        assert own.unmixed(*batch) == batch
