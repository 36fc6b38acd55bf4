"""The networks: parameter counts, image sizes, initialisation, and the same outputs as other
implementations with the same weights.
"""

import pytest
import torch
import torch.nn.functional as F
from pytorchcv.model_provider import get_model
from torch import nn

import losses
from models import build_model, model_title

PUBLISHED = {"densenetbc100": 769_162, "resnet34": 21_282_122, "wideresnet2810": 36_489_290}


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_published_number_of_parameters(name):
    model = build_model(name, 10, nn.Linear)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["densenetbc22", "resnet10", "wideresnet101", "smallcnn"])
@pytest.mark.parametrize("size", [(32, 32), (64, 32), (28, 28), (9, 13)])
def test_networks_work_with_any_image_size(name, size):
    model = build_model(name, 7, losses.DisMaxLossFirstPart).eval()
    images = torch.randn(2, 3, *size)
    features = model.forward_features(images)
    assert features.shape == (2, model.num_features)
    assert model(images).equal(model.classifier(features))
    assert model(images).shape == (2, 7)


# Number of layers of the stem: the first convolution, with the batch norm and ReLU that follow it.
STEMS = {
    "densenetbc40": 1,
    "wideresnet102": 1,
    "resnet34": 3,
    "smallcnn": 3,
    "resnet18_imagenet": 3,
}


@pytest.mark.parametrize(("name", "channels"), [
    ("densenetbc40", [24, 96, 120, 132]),
    ("wideresnet102", [16, 32, 64, 128]),
    ("resnet34", [64, 64, 128, 256, 512]),
    ("smallcnn", [32, 32, 64]),
    # The map of the stem is also the last of its resolution. It counts once.
    ("resnet18_imagenet", [64, 64, 128, 256, 512]),
])  # fmt: skip
def test_layer_features_are_those_of_the_stem_and_each_resolution(name, channels):
    model = build_model(name, 7, nn.Linear).eval()
    images, maps = torch.randn(2, 3, 32, 32), []
    for module in model.body:
        # A copy, since a ReLU may change its input in place.
        maps.append(module(maps[-1] if maps else images).clone())
    expected = [
        feature_map
        for i, feature_map in enumerate(maps)
        if i in (STEMS[name] - 1, len(maps) - 1) or maps[i + 1].shape[-1] < feature_map.shape[-1]
    ]
    layers = model.layer_features(images)
    assert [layer.shape[1] for layer in layers] == channels
    for layer, feature_map in zip(layers, expected, strict=True):
        assert layer.equal(feature_map.mean((2, 3)))


def copy_in_order(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy the weights layer by layer.

    Both networks list their convolutions and batch norms in the order in which they run.
    """
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    pairs = [
        [module for module in model.modules() if isinstance(module, kinds)]
        for model in (ours, theirs)
    ]
    for source, target in zip(*pairs, strict=True):
        assert type(source) is type(target)
        with torch.no_grad():
            for name, value in source.state_dict().items():
                if target.state_dict().get(name) is not None:
                    target.state_dict()[name].copy_(value)


def change_batch_norms(model: nn.Module) -> None:
    """Give the batch norms other values than 1 and 0, so that a wrong order changes the output."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.1)


def test_densenet_equals_that_of_pytorchcv():
    ours = build_model("densenetbc40", 10, nn.Linear)
    theirs = get_model("densenet40_k12_bc_cifar10")
    change_batch_norms(ours)
    copy_in_order(ours, theirs)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-5)


def multiply_adds(model: nn.Module, images: torch.Tensor) -> int:
    """Return the multiply-adds of all convolutions and linear layers for these images."""
    counts = []

    def count(module, _inputs, output):
        counts.append(output.numel() * module.weight[0].numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(images)
    return sum(counts)


def test_wideresnet_2810_has_the_multiply_adds_of_the_authors():
    model = build_model("wideresnet2810", 10, nn.Linear)
    assert multiply_adds(model, torch.zeros(1, 3, 32, 32)) == 5_951_117_568


def wideresnet_by_hand(
    state: dict[str, torch.Tensor], x: torch.Tensor, blocks: int
) -> torch.Tensor:
    """Return the logits [B, C] of the authors' WideResNet in evaluation mode."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(x, name, stride=1, padding=1):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)

    x = conv(x, "body.0")
    for block in range(3 * blocks):
        name, new_stage = f"body.{block + 1}", block % blocks == 0
        stride = 2 if new_stage and block else 1
        residual = conv(F.relu(norm(x, f"{name}.activation.0")), f"{name}.layers.0")
        residual = conv(F.relu(norm(residual, f"{name}.layers.1")), f"{name}.layers.3", stride)
        shortcut = conv(x, f"{name}.shortcut", stride, padding=0) if new_stage else x
        x = residual + shortcut
    x = F.relu(norm(x, f"body.{3 * blocks + 1}")).mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize(("name", "blocks"), [("wideresnet102", 1), ("wideresnet162", 2)])
def test_wideresnet_equals_the_authors_function(name, blocks):
    model = build_model(name, 10, nn.Linear).eval()
    change_batch_norms(model)
    images = torch.randn(2, 3, 32, 32)
    expected = wideresnet_by_hand(model.state_dict(), images, blocks)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


def test_resnet_equals_that_of_pytorchcv():
    # pytorchcv's ResNet has a stem for large images. From the first stage on it is the same.
    ours = build_model("resnet34", 1000, nn.Linear).eval()
    change_batch_norms(ours)
    theirs = get_model("resnet34").eval()
    copy_in_order(ours.body[3:], nn.Sequential(*list(theirs.features.children())[1:-1]))
    images = torch.randn(2, 64, 16, 16)
    stages = list(theirs.features.children())[1:-1]
    torch.testing.assert_close(
        ours.body[3:](images), nn.Sequential(*stages)(images), rtol=1e-4, atol=1e-4
    )


def convolutions_of(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def norms_of(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", ["wideresnet164", "resnet34", "densenetbc40", "resnet18_imagenet"])
def test_convolutions_start_from_kaiming_normal_with_fan_out(name):
    torch.manual_seed(0)
    for convolution in convolutions_of(build_model(name, 10, nn.Linear)):
        fan_out = convolution.out_channels * convolution.kernel_size[0] * convolution.kernel_size[1]
        assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.2)
        # A uniform distribution has no weight beyond √3 standard deviations.
        assert convolution.weight.abs().max() > 2 * (2 / fan_out) ** 0.5


def test_biases_of_wideresnet_start_as_in_pytorch():
    torch.manual_seed(0)
    model = build_model("wideresnet164", 10, nn.Linear)
    for convolution in convolutions_of(model):
        bound = convolution.weight[0].numel() ** -0.5
        assert convolution.bias.abs().max() <= bound
        assert convolution.bias.std().item() == pytest.approx(bound / 3**0.5, rel=0.5)
    assert norms_of(model)[-1].momentum == 0.9
    assert {norm.momentum for norm in norms_of(model)[:-1]} == {0.1}


# Number of blocks with a batch norm whose weight starts at 0.
ZERO_BLOCKS = {
    "resnet10": 4, "resnet18": 8, "resnet34": 16, "resnet18_imagenet": 8, "resnet50_imagenet": 16,
    "wideresnet164": 0, "densenetbc40": 0, "smallcnn": 0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "blocks"), ZERO_BLOCKS.items())
def test_the_last_batch_norm_of_each_residual_block_starts_at_0(name, blocks):
    model = build_model(name, 10, nn.Linear)
    zeros = [norm for norm in norms_of(model) if (norm.weight == 0).all()]
    assert len(zeros) == blocks
    assert all((norm.weight == 1).all() for norm in norms_of(model) if norm not in zeros)
    assert all((norm.bias == 0).all() for norm in norms_of(model))
    last_of_blocks = {
        [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)][place]
        for block in model.modules()
        for kind, place in (("_BasicBlock", 1), ("BasicBlock", 1), ("Bottleneck", 2))
        if type(block).__name__ == kind
    }
    assert set(zeros) == last_of_blocks


def test_a_new_residual_block_outputs_its_shortcut():
    block = build_model("resnet10", 10, nn.Linear).body[3]
    x = torch.rand(2, 64, 8, 8)
    assert block(x).equal(x)


@pytest.mark.parametrize("name", ["resnet18", "wideresnet164", "resnet18_imagenet"])
def test_the_pytorch_start_is_that_of_pytorch_layers(name):
    torch.manual_seed(0)
    model = build_model(name, 10, losses.SoftMaxLossFirstPart, start="pytorch")
    for convolution in convolutions_of(model):
        bound = convolution.weight[0].numel() ** -0.5  # nn.Conv2d starts uniform in ± this bound
        assert 0.9 * bound < convolution.weight.abs().max() <= bound
    assert all((norm.weight == 1).all() for norm in norms_of(model))
    bound = model.num_features**-0.5
    for parameter in (model.classifier.weight, model.classifier.bias):
        assert 0.5 * bound < parameter.abs().max() <= bound


def test_the_two_starts_of_a_convolution_have_different_standard_deviations():
    torch.manual_seed(0)
    std = {
        start: build_model("resnet18", 10, nn.Linear, start).body[3].layers[0].weight.std().item()
        for start in ("paper", "pytorch")
    }
    assert std == {
        "paper": pytest.approx(0.059, abs=1e-3),
        "pytorch": pytest.approx(0.024, abs=1e-3),
    }


@pytest.mark.parametrize(
    "name", ["resnet19", "densenetbc41", "wideresnet292", "wideresnet280", "vgg16", "resnet", ""]
)
def test_an_impossible_name_is_an_error(name):
    with pytest.raises(ValueError, match=r"depth is|width is|unknown model"):
        build_model(name, 10, nn.Linear)


def test_titles_are_those_of_the_papers():
    titles = {
        "densenetbc100": "DenseNet-BC-100",
        "resnet34": "ResNet-34",
        "wideresnet2810": "WideResNet-28-10",
    }
    assert {name: model_title(name) for name in titles} == titles
