"""`replace_classifier` on networks that are not ours."""

import pytest
import timm
import torch
import torchvision
from torch import nn

import losses

TORCHVISION = torchvision.models.list_models(module=torchvision.models)
WITHOUT_LINEAR = {"squeezenet1_0", "squeezenet1_1"}
SEVERAL = {"googlenet", "inception_v3"}  # they have auxiliary classifiers, too
REPLACED = (
    "convnext_atto deit3_small_patch16_224 efficientnet_b0 mobilenetv3_small_050 resnet18 "
    "swin_tiny_patch4_window7_224 vit_tiny_patch16_224"
)
# The classifier is a convolution; the outputs of several heads are averaged; inner layers are as
# wide as the last.
REFUSED = {
    "dla34": "DLA ends in the Conv2d 'fc', not in an nn.Linear: put the head after its pooled "
    "features",
    "deit_tiny_distilled_patch16_224": r"several nn.Linear that could be its classifier \(head, "
    r"head_dist\)",
    "vit_medium_patch32_clip_224": r"several nn.Linear .* \(..., blocks.10.mlp.fc2, "
    r"blocks.11.attn.proj, blocks.11.mlp.fc2, head\)",
}


@pytest.mark.parametrize(
    "name",
    [
        # 645 million parameters
        pytest.param(name, marks=pytest.mark.slow) if name == "regnet_y_128gf" else name
        for name in TORCHVISION
    ],
)
def test_every_network_of_torchvision_gets_the_head_or_an_error(name):
    options = {"init_weights": False} if name in SEVERAL else {}
    # A RegNet computes its widths with tensors, so it cannot be built on the meta device.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = torchvision.models.get_model(name, weights=None, **options).to("meta")
    with torch.device("meta"):
        if name in WITHOUT_LINEAR:
            with pytest.raises(
                ValueError,
                match="SqueezeNet ends in the Conv2d 'classifier.1', not in an nn.Linear: put",
            ):
                losses.replace_classifier(model, losses.DisMaxLossFirstPart)
            return
        if name in SEVERAL:
            with pytest.raises(ValueError, match="several nn.Linear that could be its classifier"):
                losses.replace_classifier(model, losses.DisMaxLossFirstPart)
        head = losses.replace_classifier(
            model, losses.DisMaxLossFirstPart, num_classes=7, name="fc" if name in SEVERAL else None
        )
        assert head in set(model.modules())
        side = 299 if name == "inception_v3" else 224
        outputs = model.eval()(torch.zeros(2, 3, side, side))
        assert outputs.shape == (2, 7)


def test_the_head_has_the_size_and_precision_of_the_named_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 5)).double()
    with pytest.raises(
        ValueError, match=r"Sequential has several nn.Linear that could be its classifier \(1, 3\)"
    ):
        losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart)
    with pytest.raises(ValueError, match="Sequential has no nn.Linear '2': it has 1, 3"):
        losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart, name="2")
    head = losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart, name="3")
    assert (head.num_features, head.num_classes, head.prototypes.dtype) == (5, 5, torch.float64)
    assert model[3] is head
    assert model(torch.zeros(2, 3, 2, 2, dtype=torch.float64)).shape == (2, 5)


@pytest.mark.parametrize("head", [losses.DisMaxLossFirstPart, losses.GODINLossFirstPart])
def test_a_network_with_a_head_is_refused(head):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 4))
    losses.replace_classifier(model, head)
    with pytest.raises(ValueError, match="Sequential has a head already, '3': make the network"):
        losses.replace_classifier(model, head)


@pytest.mark.parametrize("bias", [True, False])
def test_softmax_keeps_the_weights_of_a_trained_layer(bias):
    layer = nn.Linear(12, 5, bias=bias)
    model = nn.Sequential(nn.Flatten(), layer).double().eval()
    images = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    expected = model(images)
    head = losses.replace_classifier(model, losses.SoftMaxLossFirstPart)
    torch.testing.assert_close(model(images), expected)
    assert not head.training
    layer.weight.data.zero_()
    assert model(images).any()  # the head has a copy
    assert head.weight.requires_grad


def test_other_heads_and_other_numbers_of_classes_start_new():
    layer = nn.Linear(12, 5)
    for num_classes in (4, 6):
        model = nn.Sequential(nn.Flatten(), layer)
        head = losses.replace_classifier(model, losses.SoftMaxLossFirstPart, num_classes)
        assert not head.weight[:4].equal(layer.weight[:4])
        assert not head.bias.any()
    model = nn.Sequential(nn.Flatten(), layer)
    assert losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart).training


def test_a_model_that_is_only_a_linear_layer_is_an_error():
    with pytest.raises(ValueError, match="nothing but its nn.Linear"):
        losses.replace_classifier(nn.Linear(2, 3), losses.SoftMaxLossFirstPart)


def test_a_layer_that_is_used_twice_is_an_error():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    with pytest.raises(ValueError, match=r"uses one nn.Linear in several places \(0, 2\)"):
        losses.replace_classifier(model, losses.SoftMaxLossFirstPart)


@pytest.mark.parametrize("count", [0, 1])  # with one class the loss is always 0
def test_fewer_than_two_classes_are_an_error(count):
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ValueError, match=f"2 classes or more.*num_classes={count}"):
        losses.replace_classifier(model, losses.SoftMaxLossFirstPart, num_classes=count)


class OutOfOrder(nn.Module):
    """A network whose classifier is registered first and runs last."""

    def __init__(self, inner, classes=3):
        super().__init__()
        self.fc = nn.Linear(8, classes)
        self.inner = inner

    def forward(self, x):
        return self.fc(self.inner(x))


@pytest.mark.parametrize(
    ("inner", "num_classes"),
    [
        (nn.Linear(4, 8), None),
        (nn.Linear(4, 8), 3),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 8)), None),
        # Its last width is not the input width of fc, but fc has `num_classes` outputs.
        (nn.Sequential(nn.Linear(4, 5), nn.Softmax(1), nn.ZeroPad1d((0, 3))), 3),
    ],
)
def test_an_inner_layer_that_is_registered_last_is_not_replaced(inner, num_classes):
    model = OutOfOrder(inner)
    with pytest.raises(
        ValueError,
        match=r"registers the nn.Linear 'inner.*' last.*'fc' \(from 8 to 3\): choose .* by name=",
    ):
        losses.replace_classifier(model, losses.SoftMaxLossFirstPart, num_classes=num_classes)
    head = losses.replace_classifier(
        model, losses.SoftMaxLossFirstPart, num_classes=num_classes, name="fc"
    )
    assert model(torch.zeros(2, 4)).shape == (2, 3)
    assert model.fc is head


def test_the_criterion_finds_a_wrong_layer_that_shapes_do_not_show():
    model = OutOfOrder(nn.Sequential(nn.Linear(4, 5), nn.ZeroPad1d((0, 3))))
    head = losses.replace_classifier(model, losses.SoftMaxLossFirstPart)  # replaces the inner layer
    with pytest.raises(ValueError, match="logits of 3 classes, its head has 5"):
        losses.SoftMaxLossSecondPart(head)(model(torch.zeros(2, 4)), torch.zeros(2).long())


def test_in_a_sequential_the_last_linear_layer_is_the_classifier():
    model = nn.Sequential(nn.Sequential(nn.Linear(5, 4), nn.ReLU()), nn.Linear(4, 5))
    assert losses.replace_classifier(model, losses.SoftMaxLossFirstPart) is model[1]


def build_on_meta(name, **options):
    """Return a network of timm on the meta device, without memory for weights, and its images."""
    with torch.device("meta"):
        model = timm.create_model(name, **options).eval()
        return model, torch.zeros(2, *model.default_cfg["input_size"])


def check_head(name):
    model, images = build_on_meta(name)
    head = losses.replace_classifier(model, losses.DisMaxLossFirstPart, num_classes=7)
    assert head in set(model.get_classifier().modules()) | {model.get_classifier()}
    assert model(images).shape == (2, 7)


def check_features(name):
    body, images = build_on_meta(name, num_classes=0)
    with torch.device("meta"):
        model = nn.Sequential(body, losses.DisMaxLossFirstPart(body.head_hidden_size, 7))
    assert model(images).shape == (2, 7)


@pytest.mark.parametrize("name", REPLACED.split())
def test_networks_of_timm_get_the_head(name):
    check_head(name)


@pytest.mark.parametrize("name", REFUSED)
def test_other_networks_of_timm_raise_an_error_and_give_their_features(
    name,
):
    with pytest.raises(ValueError, match=REFUSED[name]):
        losses.replace_classifier(build_on_meta(name)[0], losses.DisMaxLossFirstPart)
    check_features(name)


@pytest.mark.slow
@pytest.mark.parametrize("family", timm.list_modules()[::3])  # a third, to save minutes
def test_families_of_timm_get_the_head_or_an_error(family):
    name = timm.list_models(module=family)[0]
    try:
        check_head(name)
        refusal = None
    except ValueError as error:
        refusal = str(error)
    assert refusal is None or "put the head after its pooled features" in refusal
    check_features(name)


def test_the_last_layer_may_be_parametrized():
    model = nn.Sequential(
        nn.Linear(3, 4), torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
    )
    assert losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart) is model[1]


def test_a_network_that_does_not_end_in_a_linear_layer_is_an_error():
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4))
    with pytest.raises(
        ValueError,
        match=r"ends in the BatchNorm1d '2', not in an nn.Linear: choose an nn.Linear by name=, "
        r"or put",
    ):
        losses.replace_classifier(inner, losses.IsoMaxPlusLossFirstPart)
    with pytest.raises(ValueError, match="Flatten ends in no layer with weights"):
        losses.replace_classifier(nn.Flatten(), losses.IsoMaxPlusLossFirstPart)
