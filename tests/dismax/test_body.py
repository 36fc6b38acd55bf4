"""Which networks a detector can split from their head, and which it refuses."""

import functools
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dismax
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


class Rows(nn.Module):
    """A network for rows of numbers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = losses.DisMaxLossFirstPart(8, 3)

    def forward(self, rows):
        return self.head(self.body(rows))


def loader(network, dtype=torch.float32):
    rows = torch.randn(60, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    with torch.no_grad():
        labels = network.eval()(rows).argmax(1)
    return [(rows, labels)]


def bound_method(module):
    module.forward = types.MethodType(type(module).forward, module)


def partial_of_itself(module):  # as Hugging Face's accelerate does
    module.forward = functools.partial(type(module).forward, module)


def without_modules(module):
    module[2].forward = torch.relu

    def again(inputs, times=1):
        return again(inputs, times - 1) if times else inputs

    module[3].forward = again


@pytest.mark.parametrize("replace", [bound_method, partial_of_itself, without_modules])
def test_a_forward_that_is_bound_to_its_module_is_copied(replace):
    network = Rows()
    batches = loader(network)
    replace(network.body)
    before = network.train().body[1].running_mean.clone()
    assert dismax.calibrate(network, batches).accuracy == 1  # without dropout
    assert network.body[1].running_mean.equal(before)


def closure(module):
    old = module.forward
    module.forward = lambda inputs: old(inputs)


def compiled_method(module):
    module.forward = torch.compile(module.forward, backend="eager")


def partial_of_a_closure(module):
    old = module.forward
    module.forward = functools.partial(lambda module, inputs: old(inputs), module)


@pytest.mark.parametrize("replace", [closure, compiled_method, partial_of_a_closure])
@pytest.mark.parametrize("place", ["body", "the network"])
def test_a_forward_that_would_run_the_original_is_refused(replace, place):
    network = Rows()
    batches = loader(network)
    replace(network.body if place == "body" else network)
    name = "body" if place == "body" else "Rows"
    with pytest.raises(ValueError, match=f"the forward of {name} was replaced by a function"):
        dismax.calibrate(network, batches)


def test_a_network_that_cannot_be_copied_says_what_helps():
    network = Rows()
    network.last = network.body(torch.randn(60, 6))
    batches = loader(network)
    with pytest.raises(ValueError, match=r"Rows cannot be copied \(.*run it once under"):
        dismax.calibrate(network, batches)
    with torch.no_grad():
        network.last = network.body(batches[0][0])
    assert dismax.calibrate(network, batches).accuracy == 1


def test_a_train_method_may_return_nothing_and_a_forward_may_ask_for_the_heads_precision():
    class Frozen(Rows):
        def train(self, mode=True):
            super().train(mode)
            self.body[1].eval()

        def forward(self, rows):
            return self.head(self.body(rows.to(self.head.prototypes.dtype)))

    network = Frozen()
    network.train(False)
    rows = torch.randn(60, 6)
    with torch.no_grad():
        labels = network(rows).argmax(1)
    assert dismax.calibrate(network, [(rows, labels)]).accuracy == 1


def test_a_network_of_several_precisions_gets_its_inputs_as_they_are():
    class Standardised(Rows):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor(1.7e9, dtype=torch.float64))

        def forward(self, rows):
            return super().forward((rows - self.mean).float())

    network = Standardised().eval()
    rows = 1.7e9 + torch.randn(60, 6, dtype=torch.float64)
    with torch.no_grad():
        labels = network(rows).argmax(1)
    assert dismax.calibrate(network, [(rows, labels)]).accuracy == 1
    assert dismax.CalibratedNetwork(network)(rows).classes.equal(labels)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_other_floats_are_converted_in_a_network_of_several_precisions(precision):
    network = Rows()
    network.register_buffer("unused", torch.zeros(1, dtype=torch.float64))
    batches = loader(network)
    dismax.calibrate(network, batches)
    rows = batches[0][0]
    detector = dismax.CalibratedNetwork(network)
    detector.to(precision)
    assert detector(rows).classes.eq(batches[0][1]).float().mean() > 0.9


def test_running_out_of_memory_and_an_error_without_text_are_told_apart():
    class Uncopyable(nn.Identity):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def __deepcopy__(self, memo):
            raise self.error

    for error, expected in (
        (NotImplementedError(), ValueError),
        (torch.OutOfMemoryError("full"), torch.OutOfMemoryError),
    ):
        network = Rows()
        batches = loader(network)
        network.other = Uncopyable(error)
        with pytest.raises(expected):
            dismax.calibrate(network, batches)


def test_a_detector_is_not_calibrated_again():
    network = Rows()
    batches = loader(network)
    dismax.calibrate(network, batches)
    with pytest.raises(ValueError, match="CalibratedNetwork is a detector already"):
        dismax.calibrate(dismax.CalibratedNetwork(network), batches)
