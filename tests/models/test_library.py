"""Networks of timm and torchvision with a head of ours."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from losses import LOSSES
from models import build_model, model_title, split_name
from models.library import normalization

# Each kind of classifier: a linear layer, the last of several, an attribute of another name, a head
# that has more features than the body's map, a transformer, and one whose positions are not saved.
NAMES = [
    "torchvision/resnet18",
    "torchvision/mobilenet_v3_small",
    "torchvision/vgg11",
    "torchvision/densenet121",
    "torchvision/googlenet",
    "timm/resnet10t",
    "timm/mobilenetv3_small_050",
    "timm/vit_tiny_patch16_224",
    "timm/swin_tiny_patch4_window7_224",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_librarys_network_gives_features_to_the_head(name):
    network = build_model(name, 7, LOSSES["dismax"].head).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        features = network.forward_features(images)
        assert features.shape == (2, network.num_features)
        torch.testing.assert_close(network(images), network.classifier(features))


@pytest.mark.parametrize(("name", "classifier"), [
    ("torchvision/resnet18", "fc"), ("torchvision/mobilenet_v3_small", "classifier.3"),
    ("timm/resnet10t", "fc"), ("timm/mobilenetv3_small_050", "classifier"),
])  # fmt: skip
def test_the_logits_are_those_of_the_library_for_the_same_weights(name, classifier):
    library, _, short = name.partition("/")
    torch.manual_seed(0)
    if library == "timm":
        whole = timm.create_model(short).eval()
    else:
        whole = torchvision.models.get_model(short).eval()
    network = build_model(name, 1000, LOSSES["softmax"].head).eval()
    network.body.load_state_dict(whole.state_dict(), strict=False)
    layer = whole.get_submodule(classifier)
    network.classifier.load_state_dict(layer.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), whole(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "message"), [
    ("timm/resnet10", "timm has no classifier 'resnet10': did you mean resnet10t"),
    ("torchvision/resnet19", "torchvision has no classifier 'resnet19': did you mean resnet18"),
    ("torchvision/fasterrcnn_resnet50_fpn", "torchvision has no classifier"),
    ("timm/zzzzzzzz", "timm has no classifier 'zzzzzzzz': it has"),
    ("keras/resnet50", "the libraries are timm and torchvision"),
    ("timm/", "timm has no classifier ''"),
])  # fmt: skip
def test_an_unknown_network_is_named_with_near_ones(name, message):
    with pytest.raises(ValueError, match=message):
        split_name(name)


def test_a_network_that_ends_in_a_convolution_is_refused():
    with pytest.raises(ValueError, match="squeezenet1_0 ends in a Conv2d, not in a linear layer"):
        build_model("torchvision/squeezenet1_0", 7, nn.Linear)


def test_titles_name_the_library():
    assert model_title("timm/resnet10t") == "resnet10t (timm)"


def test_the_normalisation_is_that_of_the_weights():
    assert normalization("torchvision", "resnet18")[0] == (0.485, 0.456, 0.406)
    assert normalization("timm", "vit_tiny_patch16_224.augreg_in21k")[0] == (0.5, 0.5, 0.5)


def test_a_frozen_body_stays_as_it_is_in_training():
    network = build_model("timm/resnet10t", 5, LOSSES["softmax"].head)
    network.freeze_body()
    before = {name: value.clone() for name, value in network.body.state_dict().items()}
    head = network.classifier.weight.clone()
    optimizer = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.1)
    network.train()
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert all(value.equal(before[name]) for name, value in network.body.state_dict().items())
    assert not network.classifier.weight.equal(head)
    assert network.classifier.training


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_of_the_inception_family_get_the_pixels_that_torchvision_gives_them(name):
    """With its own weights, torchvision's network changes the normalisation in its forward pass."""
    pixels = torch.rand(1, 3, 8, 8)
    mean, std = (
        torch.tensor(values).view(-1, 1, 1) for values in normalization("timm", "resnet10t")
    )
    options = {"init_weights": False, "transform_input": True}
    network = torchvision.models.get_model(name, weights=None, **options)
    expected = network._transform_input((pixels - mean) / std)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in normalization("torchvision", name))
    torch.testing.assert_close((pixels - mean) / std, expected)
