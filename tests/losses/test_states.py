"""A head's state: in other precisions, in files, after a reset, and with features of zeros."""

import io

import pytest
import torch
from torch import nn

import losses
from losses import LOSSES
from losses.directions import direction_logits
from tests.heads import C, D, build


def calibrated(name):
    """A head in evaluation mode with a temperature and thresholds."""
    head, _ = build(name, torch.float32)
    head.eval().temperature.fill_(0.3)
    head.set_thresholds(torch.arange(100.0) / 7)
    return head


@pytest.mark.parametrize("name", ["softmax", "isomax", "isomaxplus", "dismax", "duq"])
def test_in_training_mode_the_temperature_is_not_used(name):
    head = calibrated(name)
    expected = head(torch.ones(2, D)) * head.temperature
    head.training = True  # as in a loop that calibrates after each epoch, and calls train() once
    torch.testing.assert_close(head(torch.ones(2, D)), expected)


@pytest.mark.parametrize("convert", ["half", "bfloat16"])
@pytest.mark.parametrize("name", LOSSES)
def test_temperature_and_thresholds_are_never_rounded_to_half_precision(name, convert):
    head = calibrated(name)
    kept = head.temperature.clone(), head.thresholds.clone()
    network = getattr(nn.Sequential(nn.Linear(D, D), head), convert)()
    assert network[0].weight.dtype == getattr(torch, {"half": "float16"}.get(convert, convert))
    assert head.temperature.equal(kept[0])
    assert head.thresholds.equal(kept[1])
    assert head.double().thresholds.dtype == torch.float64


def test_a_partial_state_dict_without_the_head_keeps_its_calibration():
    head = calibrated("dismax")
    network = nn.Sequential(nn.Linear(D, D), head).eval()
    network.load_state_dict({"0.bias": torch.ones(D)}, strict=False)
    assert head.temperature.item() == pytest.approx(0.3)
    assert head.threshold() < 10
    network.load_state_dict({"1.distance_scale": torch.ones(1)}, strict=False)  # other weights
    assert head.temperature.item() == 1


def test_another_heads_calibration_is_not_loaded():
    file = io.BytesIO()
    torch.save(nn.Sequential(nn.Identity(), calibrated("isomaxplus")).state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    for loss, temperature in (("isomaxplus", 0.3), ("dismax", 1.0)):
        network = nn.Sequential(nn.Identity(), build(loss, torch.float32)[0])
        network.load_state_dict(state)
        assert network[1].prototypes.equal(state["1.prototypes"])
        assert network[1].temperature.item() == pytest.approx(temperature)
        assert network[1].thresholds.isnan().all() == (loss == "dismax")


@pytest.mark.parametrize("name", LOSSES)
def test_resetting_the_parameters_makes_the_head_anew(name):
    def made():
        torch.manual_seed(3)
        return LOSSES[name].head(D, C)

    head = calibrated(name)
    torch.manual_seed(3)
    head.reset_parameters()
    assert type(head) is type(made())
    assert head.options() == made().options()
    for key, value in made().state_dict().items():
        torch.testing.assert_close(head.state_dict()[key], value, equal_nan=True)


@pytest.mark.parametrize("recorded", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("name", ["isomaxplus", "dismax"])
@pytest.mark.parametrize("value", [0.0, 1e-20, 1e25], ids=["zero", "tiny", "overflow"])
def test_features_without_a_direction_have_the_lowest_score(name, recorded, value):
    head, _ = build(name, torch.float32)
    head.eval()
    features = torch.randn(500, D, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        forward = torch.jit.trace(head, features) if recorded else head
        opposite = head.scores(forward(-head.prototypes)).min()
        none = head.scores(forward(torch.full((1, D), value)))
        assert none.item() <= head.scores(forward(features)).min().item()
        assert none.item() <= opposite.item() + 1e-4
        assert forward(torch.full((1, D), value)).softmax(1).allclose(torch.tensor(1 / C))


def test_features_that_are_not_finite_are_not_taken_for_zeros():
    prototypes, scale = torch.randn(C, D), torch.ones(1)
    for bad in (torch.inf, torch.nan):
        logits = direction_logits(torch.full((1, D), bad), prototypes, scale, -1.0, True)
        assert logits.isnan().all()


@pytest.mark.parametrize(
    "options",
    [("godin_inner", {"form": "inner", "dropout": 0.2}), ("sngp", {"length_scale": 7.0})],
    ids=lambda each: each[0],
)
def test_a_reset_keeps_the_options(options):
    name, given = options
    head = type(build(name)[0])(D, C, **given)
    assert head.options() == given
    before = head.weight.clone()
    head.reset_parameters()
    assert head.options() == given
    assert not head.weight.equal(before)


def test_a_subclass_takes_the_calibration_and_a_parametrized_head_gives_it():
    class Same(losses.DisMaxLossFirstPart):
        """It computes what its base class does."""

    head = calibrated("dismax")
    nn.utils.parametrize.register_parametrization(head, "distance_scale", nn.Identity())
    state = head.state_dict()
    scale = state.pop("parametrizations.distance_scale.original")
    state["distance_scale"] = scale
    loaded = Same(D, C)
    loaded.load_state_dict(state)
    assert loaded.temperature.item() == pytest.approx(0.3)


def test_the_buffers_are_wide_whatever_the_default_and_the_file_are():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        head = losses.DisMaxLossFirstPart(D, C)
    finally:
        torch.set_default_dtype(before)
    assert head.temperature.dtype == head.thresholds.dtype == torch.float32
    state = {name: value.half() for name, value in calibrated("dismax").state_dict().items()}
    head.load_state_dict(state, assign=True)
    assert head.temperature.dtype == head.thresholds.dtype == torch.float32


def test_what_a_dict_does_not_calibrate_is_on_its_device():
    with torch.device("meta"):
        head = losses.DisMaxLossFirstPart(D, C)
    head.load_state_dict({"prototypes": torch.randn(C, D)}, strict=False, assign=True)
    assert head.temperature.item() == 1
    head = calibrated("dismax")
    head.load_state_dict({"temperature": torch.tensor([0.5])}, strict=False)
    assert head.threshold() < 10  # the dict has no weights


def test_a_head_of_a_plugin_without_options_can_be_reset():
    class Mine(losses.SoftMaxLossFirstPart):
        pass

    head = Mine(D, C)
    before = head.weight.clone()
    head.reset_parameters()
    assert not head.weight.equal(before)
