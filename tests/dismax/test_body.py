"""Which networks a detector can split from their head, and which it refuses."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import losses
from dismax.detector import Detector
from tests.dismax.networks import Ending, plainly, small


def in_place(network, features):
    logits = network.fc(features)
    logits.sub_(logits.logsumexp(1, keepdim=True))
    return logits


ENDINGS = {
    "log-softmax": lambda network, features: F.log_softmax(network.fc(features), 1),
    "scaled": lambda network, features: 10 * network.fc(features),
    "in place": in_place,
    "a tuple": lambda network, features: (network.fc(features), features),
    "a dict": lambda network, features: {"logits": network.fc(features)},
    "some classes": lambda network, features: network.fc(features)[:, :3],
    "the head twice": lambda network, features: network.fc(features) + network.fc(-features),
    "never the head": lambda network, features: network.other(features),
    "two classifiers": lambda network, features: (
        (network.fc(features) + network.other(features)) / 2
    ),
    "rounded": lambda network, features: network.fc(features).half(),
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_network_that_does_not_return_its_heads_output_is_refused(ending, mode):
    with (
        mode(),
        pytest.raises(
            ValueError, match="a network that returns the output of its head, Ending returns"
        ) as caught,
    ):
        small(ENDINGS[ending])(torch.rand(4, 3, 4, 4))
    assert "\n" not in str(caught.value)


def test_a_network_that_returns_logits_of_some_images_only_is_refused():
    with pytest.raises(ValueError, match="the head of Ending gives 2 answers for 4 images"):
        small(lambda network, features: network.fc(features[::2]))(torch.rand(4, 3, 4, 4))


WRAPPED = {
    "in nn.Sequential": nn.Sequential,
    "deeper": lambda network: nn.Sequential(
        nn.Identity(), nn.Sequential(network, nn.Dropout(), nn.Flatten())
    ),
    "compiled": torch.compile,
    "compiled within": lambda network: nn.Sequential(torch.compile(network)),
    "DataParallel": nn.DataParallel,
    "averaged": torch.optim.swa_utils.AveragedModel,
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize(
    "ending", [plainly, lambda network, features: network.alias(features).float().contiguous()]
)
def test_a_network_that_leaves_the_heads_output_unchanged_is_accepted(ending, wrapped, mode):
    torch.manual_seed(0)
    network, images = Ending(ending, losses.GODINLossFirstPart), torch.rand(4, 3, 4, 4)
    network.alias = network.fc
    detector = Detector(WRAPPED[wrapped](network), [0.5] * 3, [0.25] * 3)
    with mode():
        found = detector(images)
        torch.testing.assert_close(found.logits, network((images - 0.5) / 0.25))
        outputs = network.fc.named_outputs(network.body((images - 0.5) / 0.25))
        torch.testing.assert_close(found.scores, network.fc.scores(outputs))


def test_a_head_with_hooks_or_a_forward_of_its_own_is_refused():
    class Longer(losses.DisMaxLossFirstPart):
        def forward(self, features):
            return super().forward(features / features.norm(dim=1, keepdim=True))

    hooked, before = Ending(plainly), Ending(plainly)
    hooked.fc.register_forward_hook(lambda head, features, logits: 2 * logits)
    before.fc.register_forward_pre_hook(lambda head, features: 2 * features[0])
    for network in (hooked, before, Ending(plainly, Longer)):
        with pytest.raises(
            ValueError, match="the head of Ending has forward hooks or a forward of its own"
        ):
            Detector(network, [0.5] * 3, [0.25] * 3)
    cold = Ending(plainly)
    cold.fc.temperature.fill_(0)
    with pytest.raises(ValueError, match="temperature is finite and above 0, that of Ending is 0"):
        Detector(cold, [0.5] * 3, [0.25] * 3)
    with pytest.raises(ValueError, match="DisMaxLossFirstPart is its head alone"):
        Detector(hooked.fc, [0.5] * 3, [0.25] * 3)


def test_a_compiled_detector_refuses_such_a_network_or_returns_nan():
    images = torch.rand(4, 3, 4, 4)
    # A compiler follows no changes in place.
    found = torch.compile(small(in_place), backend="eager", fullgraph=True)(images)
    assert found.probabilities.isnan().all()
    assert found.scores.isnan().all()
    assert not found.accepted.any()
    with pytest.raises(ValueError, match="a network that returns the output of its head"):
        torch.compile(small(ENDINGS["log-softmax"]), backend="eager")(images)
