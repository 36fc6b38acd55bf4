"""Weights that training starts from: files of several kinds, and files of other networks."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from dismax import shipped
from experiment.config import RunConfig
from experiment.network import build_network
from experiment.parsing import parse
from experiment.weights import load_into_body, read_weights, start_from_weights
from losses import LOSSES
from models import build_model

CPU = torch.device("cpu")
CONFIG = RunConfig(model="timm/resnet10t", recipe="finetune", loss="softmax")


def weights_of(seed=0, model="resnet10t"):
    torch.manual_seed(seed)
    return timm.create_model(model).state_dict()


WRITERS = {
    "safetensors": lambda w, path: save_file(w, path),
    "state dict": lambda w, path: torch.save(w, path),
    "of DataParallel": lambda w, path: torch.save({f"module.{n}": v for n, v in w.items()}, path),
    "compiled": lambda w, path: torch.save({f"_orig_mod.{n}": v for n, v in w.items()}, path),
    "in a checkpoint": lambda w, path: torch.save({"state_dict": w, "epoch": 3}, path),
    "under model": lambda w, path: torch.save({"model": w}, path),
    "in a run": lambda w, path: torch.save({f"body.{n}": v for n, v in w.items()}, path),
    "old": lambda w, path: torch.save(
        {n: v for n, v in w.items() if "num_batches" not in n}, path
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_a_body_starts_with_the_weights_of_a_file(kind, tmp_path):
    weights = weights_of()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    WRITERS[kind](weights, path)
    network = build_network(replace(CONFIG, weights=str(path)), 5, CPU)
    for name, value in network.body.state_dict().items():
        assert value.equal(weights[name]) or "num_batches" in name
    assert f"come from {path}; the head is new; not used: " in network.start_note
    assert "fc.weight" in network.start_note


def test_the_included_network_is_named_as_for_predict():
    config = parse(["--model", "wideresnet102", "--loss", "softmax", "--weights", "cifar10"])
    assert config.weights == "cifar10"
    network = build_network(config, 5, CPU)
    expected = read_weights(shipped.resolve("cifar10"))
    for name, value in network.body.state_dict().items():
        assert value.equal(expected[f"body.{name}"])


def test_weights_are_loaded_before_a_method_changes_the_network(tmp_path):
    """SNGP bounds the convolutions: it renames their weights."""
    body = build_model("smallcnn", 5, LOSSES["softmax"].head)
    torch.save(body.state_dict(), tmp_path / "w.pt")
    config = RunConfig(model="smallcnn", loss="sngp", weights=str(tmp_path / "w.pt"))
    network = build_network(config, 5, CPU)
    assert "all " in network.start_note
    config = replace(config, loss="dismax")
    network = build_network(config, 5, CPU)
    for name, value in network.body.state_dict().items():
        assert value.equal(body.body.state_dict()[name])


def test_a_checkpoint_of_openood_is_taken_in_its_order(tmp_path):
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    state = theirs.state_dict()
    torch.save(state, tmp_path / "best.ckpt")
    config = RunConfig(model="resnet18", loss="dismax", weights=str(tmp_path / "best.ckpt"))
    network = build_network(config, 7, CPU)
    for value, expected in zip(network.body.state_dict().values(), state.values(), strict=False):
        assert value.equal(expected)
    assert network.start_note.endswith(
        "the head is new; the names there are others, so they were taken in their order; "
        "not used: fc.bias, fc.weight"
    )
    with pytest.raises(ValueError, match=r"no name is one of resnet34, .*tensor 31 is layer2"):
        build_network(replace(config, model="resnet34"), 7, CPU)


BAD = {
    "another network": (
        lambda: weights_of(model="resnet26t"), "of timm/resnet10t are missing or have another shape"
    ),
    "one missing": (
        lambda: {n: v for n, v in weights_of().items() if n != "conv1.0.weight"},
        r"1 of 84 tensors .*conv1.0.weight is not there",
    ),
    "another shape": (
        lambda: weights_of() | {"conv1.0.weight": torch.zeros(2, 3, 3, 3)},
        r"conv1.0.weight is \[2, 3, 3, 3\] there, \[24, 3, 3, 3\] here",
    ),
    "NaN": (
        lambda: weights_of() | {"conv1.0.weight": torch.full((24, 3, 3, 3), torch.nan)},
        "conv1.0.weight is not finite",
    ),
    "no tensors": (lambda: {"epoch": 3}, "holds no tensors by name"),
    "a list": (lambda: [torch.zeros(2)], "holds no tensors by name"),
    "a whole module": (lambda: torch.nn.Linear(2, 2), "it holds something else than tensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_weights_of_another_network_are_refused_in_one_line(case, tmp_path):
    make, message = BAD[case]
    torch.save(make(), tmp_path / "w.pth")
    network = build_model(CONFIG.model, 5, LOSSES["softmax"].head)
    with pytest.raises(ValueError, match=message) as caught:
        start_from_weights(replace(CONFIG, weights=str(tmp_path / "w.pth")), network)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_damaged_or_missing_file_is_refused_in_one_line(name, tmp_path):
    network = build_model("smallcnn", 5, LOSSES["softmax"].head)
    config = RunConfig(weights=str(tmp_path / name))
    with pytest.raises(ValueError, match="is no file: name one, or write pretrained"):
        start_from_weights(config, network)
    (tmp_path / name).write_bytes(b"\x80 not weights")
    with pytest.raises(ValueError, match="is damaged, or holds no weights"):
        start_from_weights(config, network)


def test_only_a_library_has_pretrained_weights():
    network = build_model("smallcnn", 5, LOSSES["softmax"].head)
    with pytest.raises(ValueError, match="pretrained is for timm/NAME and torchvision/NAME, not"):
        start_from_weights(RunConfig(weights="pretrained"), network)


def test_a_network_with_a_part_named_as_a_prefix_takes_its_own_weights():
    """All of TResNet but its classifier is in a part named body."""
    weights = build_model("timm/tresnet_m", 2, LOSSES["softmax"].head).body.state_dict()
    network = build_model("timm/tresnet_m", 2, LOSSES["softmax"].head)
    line = load_into_body(network, weights | {"head.fc.weight": torch.ones(1)}, "FILE", "tresnet_m")
    assert line.endswith("not used: head.fc.weight")
    for name, value in network.body.state_dict().items():
        assert torch.equal(value, weights[name])
