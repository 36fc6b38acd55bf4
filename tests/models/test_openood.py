"""OpenOOD's checkpoints.

Its ResNet-18 for small images is described as torchvision's with a 3×3 convolution of stride 1 as
its stem, without max pooling. That network stands in for it here.
"""

import pytest
import torch
import torchvision
from torch import nn

from losses import LOSSES
from models import build_model, by_order, load_openood, to_openood

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def stand_in(classes=10, make=torchvision.models.resnet18):
    network = make(num_classes=classes)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def trained(network):
    """Return a network in which all tensors differ from their initial values."""
    torch.manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor + 0.1 * torch.rand_like(tensor))
    return network.eval()


def ours(model="resnet18", loss="softmax"):
    torch.manual_seed(2)
    return build_model(model, 10, LOSSES[loss].head).eval()


@torch.no_grad()
def test_a_checkpoint_gives_the_same_logits():
    theirs, network = trained(stand_in()), ours()
    state = theirs.state_dict()
    assert len(state) == 122
    load_openood(network, state)
    torch.testing.assert_close(network(IMAGES), theirs(IMAGES), rtol=1e-4, atol=1e-4)
    assert network.classifier.temperature == 1


@torch.no_grad()
def test_our_weights_give_the_same_logits_there_and_come_back():
    network, theirs = trained(ours()), stand_in()
    exported = to_openood(network)
    theirs_names = [name.replace("downsample", "shortcut") for name in theirs.state_dict()]
    assert list(exported) == theirs_names
    state = {name.replace("shortcut", "downsample"): value for name, value in exported.items()}
    theirs.load_state_dict(state)
    network.classifier.temperature.fill_(1)
    torch.testing.assert_close(theirs.eval()(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-4)
    again = ours()
    load_openood(again, exported)
    for name, value in to_openood(again).items():
        assert value.equal(exported[name]), name


def test_a_deeper_network_has_its_names_too():
    exported = to_openood(ours("resnet34"))
    names = stand_in(make=torchvision.models.resnet34).state_dict()
    assert list(exported) == [name.replace("downsample", "shortcut") for name in names]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state | {"layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)},
            r"tensor 31 is layer2.0.conv1.weight \[128, 64, 1, 1\] there, body.5.layers.0.weight",
        ),
        (
            lambda state: dict(sorted(state.items())),  # another order
            r"tensor 1 is bn1.bias \[64\] there, body.0.weight \[64, 3, 3, 3\] here",
        ),
        (
            lambda state: {  # the weight and the bias of a batch norm changed places
                {"bn1.weight": "bn1.bias", "bn1.bias": "bn1.weight"}.get(name, name): value
                for name, value in state.items()
            },
            r"tensor 2 is bn1.bias \[64\] there, body.1.weight \[64\] here",
        ),
        (lambda state: dict(list(state.items())[:50]), "there are 50 tensors, 122 are needed"),
        (lambda state: state | {"more.weight": torch.zeros(1)}, "1 tensors are left over, such as"),
        (
            lambda state: stand_in(100).state_dict(),
            r"tensor 121 is fc.weight \[100, 512\] there, classifier.weight \[10, 512\] here",
        ),
    ],
)
def test_other_weights_are_refused_with_the_first_that_differs(change, message):
    network = ours()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_openood(network, change(stand_in().state_dict()))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_file_without_counters_of_batch_norms_fits_too():
    state = stand_in().state_dict()
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    assert len(by_order(ours().body.state_dict(), old)) == 100


def test_only_networks_that_openood_has_are_exported_and_loaded():
    with pytest.raises(ValueError, match="this one with DisMaxLossFirstPart: take the SoftMax"):
        to_openood(ours(loss="dismax"))
    with pytest.raises(ValueError, match="end with a linear layer"):
        load_openood(ours(loss="duq"), stand_in().state_dict())
    for model in ("smallcnn", "resnet18_imagenet", "densenetbc40", "wideresnet164"):
        with pytest.raises(ValueError, match="ResNets of 10, 18 or 34 layers for small images"):
            to_openood(ours(model))
