"""A detector that was written as safetensors comes back as it was, or is refused in a line."""

import copy
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import losses
from detectors import DETECTORS
from dismax import archive
from dismax.detector import Detector
from dismax.export import to_onnx, to_safetensors
from dismax.saved import add_scores
from dismax.score import fit_to_outputs
from losses import LOSSES
from tests.detectors.sets import MEAN, STD, trained_data, untrained_data
from tests.dismax.networks import Ending, plainly, small
from tests.finished_runs import model_file_content

NAMES = [name for name, row in DETECTORS.items() if row.needs != "network"]


def random_pixels(*shape):
    return torch.randint(256, shape, dtype=torch.uint8)


def there_and_back(detector, folder, **options):
    to_safetensors(detector, folder / "detector.safetensors")
    return Detector.load(folder / "detector.safetensors", **options)


def assert_equal(loaded, detector, pixels):
    for name, found, expected in zip(
        ("classes", "probabilities", "scores", "accepted", "logits"),
        loaded(pixels),
        detector(pixels),
        strict=True,
    ):
        assert found.equal(expected), name
        assert found.dtype == expected.dtype, name
    for name in ("class_names", "size", "margin", "grey", "tpr", "per_class", "config"):
        assert getattr(loaded, name) == getattr(detector, name), name
    assert loaded.least.equal(detector.least)
    assert not any(weight.requires_grad for weight in loaded.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_runs_detector_comes_back_from_the_file_alone(tmp_path, loss):
    archive.save(
        tmp_path / "model.pt",
        model_file_content(loss) | {"size": [8, 6], "margin": 2, "grey": True},
    )
    detector = Detector.load(tmp_path / "model.pt", tpr=0.9)
    assert_equal(there_and_back(detector, tmp_path), detector, random_pixels(7, 3, 8, 6))


@pytest.mark.parametrize("name", ["own", *NAMES])
def test_a_score_of_ones_own_network_comes_back_without_thresholds_of_the_head(tmp_path, name):
    data = untrained_data("softmax")
    detector = Detector(
        data.network, MEAN, STD, list("abcd"), score=fit_to_outputs(name, data, 0.5)
    )
    loaded = there_and_back(detector, tmp_path, network=untrained_data("softmax").network)
    assert loaded.score.name == name
    assert loaded.threshold(0.5) == detector.threshold(0.5)
    assert_equal(loaded, detector, random_pixels(33, 3, 8, 8))


def test_a_threshold_for_each_class_comes_back(tmp_path):
    data = trained_data("dismax")
    score = fit_to_outputs("own", data, 0.5)
    detector = Detector(data.network, MEAN, STD, list("abcd"), 0.9, score, per_class=True)
    loaded = there_and_back(detector, tmp_path, network=data.network)
    assert len(loaded.least) == 4
    assert_equal(loaded, detector, random_pixels(33, 3, 8, 8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_in_another_precision_comes_back_in_it(tmp_path, channels, precision):
    detector = small(channels=channels).to(precision)
    fresh = Ending(plainly, channels=channels)
    before = copy.deepcopy(fresh.state_dict())
    loaded = there_and_back(detector, tmp_path, network=fresh)
    assert_equal(loaded, detector, random_pixels(7, channels, 2, 8))
    for name, value in fresh.state_dict().items():  # the caller's network is as it was
        assert value.equal(before[name]), name


def test_a_network_that_was_built_in_float64_takes_a_score_and_comes_back(tmp_path):
    data = untrained_data("softmax", torch.float64)
    score = fit_to_outputs("mahalanobis", data, 0.5)
    detector = Detector(data.network, MEAN, STD, score=score)
    fresh = untrained_data("softmax", torch.float64).network
    assert_equal(
        there_and_back(detector, tmp_path, network=fresh), detector, random_pixels(7, 3, 8, 8)
    )


def test_layers_that_share_a_weight_can_be_written(tmp_path):
    def network():
        layer = nn.Linear(48, 48)
        return nn.Sequential(nn.Flatten(), layer, layer, losses.DisMaxLossFirstPart(48, 5)).eval()

    trained = network()
    trained[-1].set_thresholds(torch.randn(9))
    trained[1].bias = nn.Parameter(trained[1].weight[0])  # a part of the weight
    detector = Detector(trained, MEAN, STD)
    assert_equal(
        there_and_back(detector, tmp_path, network=network()), detector, random_pixels(7, 3, 4, 4)
    )


def test_a_wrapped_network_takes_the_weights_too(tmp_path):
    detector = small()
    loaded = there_and_back(detector, tmp_path, network=nn.DataParallel(Ending(plainly)))
    assert_equal(loaded, detector, random_pixels(7, 3, 4, 4))


def with_a_score(folder):
    """The detector of a run with a score besides the head's, as safetensors."""
    data = untrained_data("dismax")
    content = model_file_content("dismax")
    content |= {"state_dict": data.network.state_dict(), "classes": list("abcd")}
    content["state_dict"]["classifier.thresholds"] = torch.linspace(
        -1, 1, len(content["state_dict"]["classifier.thresholds"])
    )
    archive.save(folder / "model.pt", content)
    add_scores(folder / "model.pt", [fit_to_outputs("knn", data, 0.5)])
    to_safetensors(Detector.load(folder / "model.pt", 0.8, "knn"), folder / "detector.safetensors")
    return folder / "detector.safetensors"


def test_a_share_that_is_set_later_sets_the_threshold(tmp_path):
    path = with_a_score(tmp_path)
    for score in ("knn", "own"):
        changed = Detector.load(path, 0.95, score)
        changed.tpr = 0.5
        expected = Detector.load(path, 0.5, score)
        assert_equal(changed, expected, random_pixels(7, 3, 8, 8))
        assert changed.least == expected.least == expected.threshold()
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            changed.tpr = 2
        assert changed.tpr == 0.5


def test_a_runs_folder_names_its_network_and_an_onnx_file_is_refused(tmp_path):
    with_a_score(tmp_path)
    images = random_pixels(7, 3, 8, 8)
    assert_equal(Detector.load(tmp_path), Detector.load(tmp_path / "model.pt"), images)
    with pytest.raises(ValueError, match=r"d.onnx is for onnxruntime"):
        Detector.load(tmp_path / "d.onnx")


def test_the_caller_may_choose_another_share_or_the_heads_own_score(tmp_path):
    path = with_a_score(tmp_path)
    assert (Detector.load(path).tpr, Detector.load(path).score.name) == (0.8, "knn")
    for tpr, score in ((0.5, "knn"), (0.95, "own")):
        loaded = Detector.load(path, tpr, score)
        assert_equal(
            loaded, Detector.load(tmp_path / "model.pt", tpr, score), random_pixels(7, 3, 8, 8)
        )
    with pytest.raises(ValueError, match="no score vim, only own, knn"):
        Detector.load(path, score="vim")


def metadata(**values):
    return lambda said, tensors: said.update(values)


def config(**values):
    return metadata(config=json.dumps(model_file_content("dismax")["config"] | values))


def tensor(name, change):
    return lambda said, tensors: tensors.update({name: change(tensors[name])})


CHANGES = {
    "no detector": (lambda said, tensors: said.clear(), "no detector that dismax.export"),
    "another format": (metadata(format="dismax-detector-9"), "'dismax-detector-9', not"),
    "no class names": (lambda said, tensors: said.pop("class_names"), "it lacks class_names"),
    "another network": (
        config(model="densenetbc22"), "of another network: its head"
    ),
    "an unknown network": (
        config(model="resnet19"), "depth is one of"
    ),
    "another head": (metadata(head="Magic"), "its head is Magic, that of the network is DisMax"),
    "a missing weight": (
        lambda said, tensors: tensors.pop("body.body.0.weight"), "it lacks body.body.0.weight"
    ),
    "one weight more": (
        lambda said, tensors: tensors.update(more=torch.zeros(1)), "it has more (and 0 others)"
    ),
    "another shape": (tensor("body.body.0.weight", lambda value: value[:1]), "0.weight is [1,"),
    "another type": (tensor("body.body.0.weight", lambda value: value.int()), "torch.int32, not"),
    "NaN": (tensor("body.body.0.weight", lambda value: value * torch.nan), "0.weight is NaN"),
    "another head's shape": (
        tensor("head.prototypes", lambda value: value[:, :3]), "its head.prototypes is [4, 3]"
    ),
    "no mean": (lambda said, tensors: tensors.pop("mean"), "it lacks mean"),
    "no bank": (lambda said, tensors: tensors.pop("score.score.bank"), "it lacks score.score"),
    "another bank": (
        tensor("score.score.bank", lambda value: value[:, :3]), "cannot be used"
    ),
    "no kind of score": (
        metadata(fitted_score='{"version": 1, "score": {}, "thresholds": null}'),
        "a score without a class",
    ),
    "a number that is none": (metadata(margin="NaN"), "its metadata has the number NaN"),
    "an absurd size": (metadata(size="[1000000, 1000000]"), "(height, width) are [1000000,"),
    "an absurd share": (metadata(tpr="7.5"), "tpr is a rate in [0, 1], got 7.5"),
    "a share of text": (metadata(tpr='"all"'), "its tpr is 'all'"),
    "names of numbers": (metadata(class_names="[1, 2, 3, 4]"), "class_names are a list of str"),
    "metadata without a form": (metadata(config="{"), "cannot be used"),
    "nested without end": (metadata(fitted_score="[" * 10**5), "cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_damaged_or_of_another_network_is_refused_in_one_line(tmp_path, change):
    path = with_a_score(tmp_path)
    with safe_open(path, "pt") as file:
        said = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    edit, message = CHANGES[change]
    edit(said, tensors)
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    save_file(tensors, path, said)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is looked at below
        Detector.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "detector.safetensors"
    with pytest.raises(ValueError, match="is no file: name one that dismax.export"):
        Detector.load(path)
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is no file: name one that dismax.export"):
        Detector.load(path)
    path.unlink()
    whole = with_a_score(tmp_path).read_bytes()
    for content in (b"", b"\0" * 100, whole[:-1], whole + b"\0", b"\xff" * 8 + whole[8:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be used: ") as caught:
            Detector.load(path)
        assert "\n" not in str(caught.value)


def test_the_network_is_asked_for_where_it_is_needed_and_refused_elsewhere(tmp_path):
    with pytest.raises(
        ValueError, match=r"give that network, as Detector.load\(path, network=\.\.\.\)"
    ):
        there_and_back(small(), tmp_path)
    with pytest.raises(ValueError, match="of another network: its head.prototypes is"):
        Detector.load(
            tmp_path / "detector.safetensors",
            network=nn.Sequential(nn.Flatten(), losses.DisMaxLossFirstPart(48, 5)),
        )
    with pytest.raises(ValueError, match="its head is DisMax.*, that of the network is SoftMax"):
        Detector.load(
            tmp_path / "detector.safetensors", network=Ending(plainly, losses.SoftMaxLossFirstPart)
        )
    with pytest.raises(ValueError, match="a model.pt has its network"):
        Detector.load(tmp_path / "model.pt", network=Ending(plainly))


def test_a_threshold_that_was_changed_by_hand_is_not_exported(tmp_path):
    """A file is read with the threshold of its share, so this one would be lost."""
    network = untrained_data().network
    network.classifier.set_thresholds(torch.arange(100.0))
    detector = Detector(network, MEAN, STD)
    detector.least.fill_(-100)
    for write in (to_safetensors, to_onnx):
        with pytest.raises(ValueError, match="`least` is not the threshold of its tpr, 0.95: set"):
            write(detector, tmp_path / "detector")
    assert list(tmp_path.iterdir()) == []
