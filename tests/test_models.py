"""The networks: parameter counts, any image size, and the same numbers as another implementation with the same weights."""

import pytest
import torch
from pytorchcv.model_provider import get_model
from torch import nn

import losses
from models import build_model, model_title

PUBLISHED = {"densenetbc100": 769_162, "resnet34": 21_282_122, "wideresnet2810": 36_489_290}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    model = build_model(name, 10, nn.Linear)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["densenetbc22", "resnet10", "wideresnet101", "smallcnn"])
@pytest.mark.parametrize("size", [(32, 32), (64, 32), (28, 28), (9, 13)])
def test_any_image_size_gives_a_row_an_image(name, size):
    model = build_model(name, 7, losses.DisMaxLossFirstPart).eval()
    images = torch.randn(2, 3, *size)
    features = model.forward_features(images)
    assert features.shape == (2, model.num_features)
    assert model(images).equal(model.classifier(features))
    assert model(images).shape == (2, 7)


@pytest.mark.parametrize(("name", "channels"), [("densenetbc40", [96, 120, 132]), ("resnet34", [64, 128, 256, 512])])
def test_layer_features_are_the_last_map_of_each_resolution(name, channels):
    model = build_model(name, 7, nn.Linear).eval()
    before_each_reduction = {}

    def watch(_module, inputs, output):
        if output.shape[-1] < inputs[0].shape[-1]:
            before_each_reduction.setdefault(output.shape[-1], inputs[0].mean((2, 3)))

    for module in model.body:
        module.register_forward_hook(watch)
    images = torch.randn(2, 3, 32, 32)
    layers = model.layer_features(images)
    assert [layer.shape[1] for layer in layers] == channels
    for layer, expected in zip(layers, [*before_each_reduction.values(), model.forward_features(images)], strict=True):
        assert layer.equal(expected)


def copy_in_order(ours: nn.Module, theirs: nn.Module) -> None:
    """Copies weights layer by layer: both list a layer's convolutions and batch norms in the order in which they run."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    pairs = [[module for module in model.modules() if isinstance(module, kinds)] for model in (ours, theirs)]
    for source, target in zip(*pairs, strict=True):
        assert type(source) is type(target)
        with torch.no_grad():
            for name, value in source.state_dict().items():
                if target.state_dict().get(name) is not None:
                    target.state_dict()[name].copy_(value)


def test_densenet_computes_what_pytorchcv_computes():
    ours = build_model("densenetbc40", 10, nn.Linear)
    theirs = get_model("densenet40_k12_bc_cifar10")
    for module in ours.modules():  # away from 1 and 0, so that a wrong order shows
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    copy_in_order(ours, theirs)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-5)


def test_wideresnet_computes_what_pytorchcv_computes():
    ours = build_model("wideresnet1610", 10, nn.Linear)
    theirs = get_model("wrn16_10_cifar10")
    # pytorchcv lists a block's shortcut last, as here, and its convolutions have no biases but the first's.
    convolutions = [module for module in ours.modules() if isinstance(module, nn.Conv2d)]
    assert all((convolution.bias == 0).all() for convolution in convolutions)
    copy_in_order(ours, theirs)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-5)


def test_resnet_computes_what_pytorchcv_computes():
    # pytorchcv's has the stem for large images: from the first stage on they are the same network.
    ours = build_model("resnet34", 1000, nn.Linear).eval()
    theirs = get_model("resnet34").eval()
    copy_in_order(ours.body[3:], nn.Sequential(*list(theirs.features.children())[1:-1]))
    images = torch.randn(2, 64, 16, 16)
    stages = list(theirs.features.children())[1:-1]
    torch.testing.assert_close(ours.body[3:](images), nn.Sequential(*stages)(images), rtol=1e-4, atol=1e-4)


def test_convolutions_and_batch_norms_start_as_published():
    torch.manual_seed(0)
    model = build_model("wideresnet164", 10, nn.Linear)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for convolution in convolutions:
        fan_out = convolution.out_channels * convolution.kernel_size[0] ** 2
        assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.2)
        assert (convolution.bias == 0).all()
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)
    assert norms[-1].momentum == 0.9
    assert {norm.momentum for norm in norms[:-1]} == {0.1}


@pytest.mark.parametrize("name", ["resnet19", "densenetbc41", "wideresnet292", "wideresnet280", "vgg16", "resnet", ""])
def test_names_that_make_no_network_say_so(name):
    with pytest.raises(ValueError, match=r"depth is|width is|unknown model"):
        build_model(name, 10, nn.Linear)


def test_titles_are_the_papers():
    titles = {"densenetbc100": "DenseNet-BC-100", "resnet34": "ResNet-34", "wideresnet2810": "WideResNet-28-10"}
    assert {name: model_title(name) for name in titles} == titles
