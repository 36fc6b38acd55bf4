"""model.pt files that others made, or that were changed: read with care, or refused in a line."""

import os
import pickle
import resource
import zipfile

import pytest
import torch

from dismax import archive
from dismax.detector import Detector
from dismax.saved import load_network
from experiment import records
from losses import LOSSES
from tests.common import QUICK
from tests.finished_runs import model_file_content


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_comes_back_as_it_was(tmp_path, loss):
    content = model_file_content(loss)
    archive.save(tmp_path / "model.pt", content)
    random = torch.get_rng_state()
    network, said = load_network(tmp_path / "model.pt")
    assert torch.get_rng_state().equal(random)
    assert not network.training
    assert {name: value.tolist() for name, value in network.state_dict().items()} == {
        name: value.tolist() for name, value in content["state_dict"].items()
    }
    del content["state_dict"]
    assert said == content | {"scores": {}}
    Detector.load(tmp_path / "model.pt")(torch.zeros(1, 3, 8, 8))


def weight(name, change):
    return lambda content: content["state_dict"].update({name: change(content["state_dict"][name])})


def entry(**fields):
    return lambda content: content.update(fields)


def config(**fields):
    return lambda content: content["config"].update(fields)


CHANGES = {
    "absurdly deep": (config(model="densenetbc100000"), "unknown model"),
    "absurdly wide": (config(model="wideresnet10999"), "Missing key"),
    "another network": (config(model="resnet18"), "Missing key"),
    "an unknown network": (config(model="resnet19"), "a ResNet's depth is one of"),
    "no network's name": (config(model=None), "no run's network"),
    "an unknown loss": (config(loss="dismay"), "unknown loss"),
    "another loss": (config(loss="sngp"), "Missing key"),
    "very many classes": (entry(classes=["x"] * 10**5), "size mismatch"),
    "no classes": (entry(classes=[]), "num_classes"),
    "a shade of grey": (entry(grey=0.5), "its flag for grey images is 0.5"),
    "no pixels": (entry(size=[0, 0]), "(height, width) are [0, 0]"),
    "pixels below none": (entry(size=[-8, -8]), "(height, width) are [-8, -8]"),
    "a part of a pixel": (entry(size=[8.5, 8]), "(height, width) are [8.5, 8]"),
    "absurdly large": (entry(size=[10**6, 10**6]), "(height, width) are [1000000, 1000000]"),
    "one side": (entry(size=[8]), "(height, width) are [8]"),
    "a margin below none": (entry(margin=-1), "margin is -1"),
    "absurd margin": (entry(margin=10**6), "margin is 1000000"),
    "no mean": (lambda content: content.pop("mean"), "it lacks mean"),
    "a mean that is none": (
        entry(mean=[0.5, 0.5, float("nan")]),
        "mean and std are a number for each channel",
    ),
    "a mean of text": (entry(mean="abc"), "mean and std are a number for each channel"),
    "a std of 0": (entry(std=[0.0, 0.0, 0.0]), "mean and std are a number for each channel"),
    "another number of channels": (entry(mean=[0.5], std=[0.2]), "not of 3 channels"),
    "class names of bytes": (entry(classes=[b"a"] * 8), "class_names are a list of str"),
    "NaN weights": (
        weight("body.0.weight", lambda value: value * torch.nan),
        "body.0.weight is not finite",
    ),
    "no temperature": (
        weight("classifier.temperature", torch.zeros_like),
        "temperature is finite and above 0",
    ),
    "one number for many": (
        weight("body.0.weight", lambda value: torch.zeros(1).expand(10**6, 10**6)),
        "larger than the file",
    ),
    "weights without numbers": (
        weight("body.0.weight", lambda value: value.to("meta")),
        "no run's network",
    ),
    "weights that are none": (weight("body.0.weight", lambda value: "none"), "no run's network"),
    "no weights": (entry(state_dict={}), "Missing key"),
    "other weights": (
        lambda content: content.clear(),
        "it lacks state_dict; if these are weights of a",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_a_runs_network_is_refused_without_taking_memory(tmp_path, change):
    edit, message = CHANGES[change]
    content, path = model_file_content(), tmp_path / "model.pt"
    edit(content)
    torch.save(content, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is looked at below
        Detector.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


class _Code:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_file_with_code_is_refused_without_advice_to_run_it(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(model_file_content() | {"classes": _Code()}, path)
    with pytest.raises(
        ValueError, match="it holds something else than tensors, numbers and names"
    ) as caught:
        Detector.load(path)
    assert "weights_only" not in str(caught.value)
    path.write_bytes(pickle.dumps(model_file_content()))
    with pytest.raises(ValueError, match="is no run's network, or damaged"):
        Detector.load(path)


@pytest.mark.parametrize(("part", "message"), [
    # It could unpack to any size.
    ({"compress_type": zipfile.ZIP_DEFLATED}, "it is compressed, which a run's is not"),
    ({"external_attr": 0x10}, "calls itself a folder"),  # torch would not read its weights
])  # fmt: skip
def test_a_file_whose_parts_are_not_as_a_runs_is_refused(tmp_path, part, message):
    torch.save(model_file_content(), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "model.pt", "w") as changed,
    ):
        largest = max(plain.infolist(), key=lambda info: info.file_size)
        for info in plain.infolist():
            content = plain.read(info)
            for name, value in part.items() if info is largest else ():
                setattr(info, name, value)
            changed.writestr(info, content)
    with pytest.raises(ValueError, match=message):
        Detector.load(tmp_path / "model.pt")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "nothing"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "model.pt"
    make = {
        "pipe": os.mkfifo,
        "folder": os.mkdir,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "nothing": lambda path: None,
    }
    make[kind](path)
    with pytest.raises(
        ValueError,
        match=f"{path}.* is no file: name a finished run, its model.pt, or one of cifar10",
    ):
        Detector.load(path)


@pytest.mark.parametrize("content", [b"", b"nothing", "other"])
def test_a_file_that_is_no_network_is_named(tmp_path, content):
    path = tmp_path / "model.pt"
    torch.save({"config": {}}, path) if content == "other" else path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is no run's network, or damaged"):
        Detector.load(path)


def test_a_flipped_bit_is_an_error(run_main, tmp_path):
    run_main(*QUICK)
    path = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.MODEL
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["state_dict"]["classifier.prototypes"]
    content[content.find(weights.numpy().tobytes())] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # it does not
    with pytest.raises(ValueError, match="damaged .*checksum"):
        Detector.load(path)
