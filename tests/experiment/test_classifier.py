"""A network from a run or an ONNX file, to classify images with."""

import json
import sys

import onnx
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

from data.decoding import decode
from data.images import resize_and_center_crop, to_grey
from dismax import export
from dismax.detector import Detector
from experiment import classifier
from tests.dismax.networks import small

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The path of an ONNX file without metadata, and its detector."""
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    detector = small()
    export.to_onnx(detector, path, (4, 4))
    return with_metadata(path, path), detector


def with_metadata(path, new, **metadata):
    """Write an ONNX file again, with these metadata instead of its own."""
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, new)
    return new


def load(path, tpr=None, score=None, device="cpu"):
    return classifier.load(path, tpr, score, device)


def pictures(count=5):
    torch.manual_seed(1)
    return torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8)


def test_an_onnx_file_answers_as_its_detector(exported):
    path, detector = exported
    found, expected = load(path)(pictures()), detector(pictures())
    assert found.classes.equal(expected.classes)
    torch.testing.assert_close(found.probabilities, expected.probabilities)
    torch.testing.assert_close(found.scores, expected.scores)
    assert found.accepted.equal(expected.accepted)


def test_a_safetensors_file_keeps_its_rate_its_score_and_its_threshold(tmp_path):
    path = tmp_path / "net.safetensors"
    detector = Detector.load("cifar10", 0.8, "own", per_class=True)
    export.to_safetensors(detector, path)
    network = load(path)
    assert (network.score, network.tpr) == ("own", 0.8)
    assert network.threshold == detector.least.tolist()


def test_without_metadata_classes_have_numbers_and_nothing_is_invented(exported):
    network = load(exported[0])
    assert list(network.class_names) == list("01234")
    assert (network.size, network.margin, network.channels) == ((4, 4), 0, 3)
    assert (network.grey, network.score, network.threshold, network.tpr) == (None,) * 4


def test_the_metadata_are_used(exported, tmp_path):
    known = {"class_names": list("abcde"), "margin": 3, "grey": True, "threshold": -1, "tpr": 0.9}
    texts = {key: json.dumps(value) for key, value in known.items()} | {"score": "knn"}
    network = load(with_metadata(exported[0], tmp_path / "net.onnx", **texts))
    assert {key: getattr(network, key) for key in known} == known
    assert network.score == "knn"


def test_a_network_of_grey_images_gets_grey_ones(exported, tmp_path):
    grey = load(with_metadata(exported[0], tmp_path / "net.onnx", grey="true"))
    coloured, same = pictures(), pictures()[:, :1].expand(-1, 3, -1, -1)
    assert not grey(coloured).scores.equal(load(exported[0])(coloured).scores)
    assert grey(same).scores.equal(load(exported[0])(same).scores)


def test_a_network_of_one_channel_gets_one(tmp_path):
    detector = small(channels=1)
    export.to_onnx(detector, tmp_path / "net.onnx", (4, 4))
    same = pictures()[:, :1]
    found = load(tmp_path / "net.onnx")(same.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found.scores, detector(same).scores)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"tpr": 0.9}, "--tpr cannot be changed for an ONNX file"),
        ({"score": "own"}, "--score cannot be changed for an ONNX file"),
        ({"device": "cuda"}, "--device cuda: an ONNX file runs on the CPU"),
    ],
)
def test_what_an_onnx_file_has_fixed_cannot_be_chosen(exported, choice, message):
    with pytest.raises(ValueError, match=message):
        load(exported[0], **choice)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"class_names": '["a"]'}, "1 names for 5 classes"),
        ({"class_names": "[a"}, "Expecting value"),
        ({"class_names": '["a", "a", "b", "c", "d"]'}, "two classes have one name"),
        ({"threshold": "[]"}, "float"),
        ({"margin": "-1"}, "margin"),
        ({"margin": '"x"'}, "invalid literal"),
        ({"threshold": "null"}, "float"),
    ],
)
def test_damaged_metadata_are_an_error_that_names_the_file(exported, tmp_path, metadata, reason):
    path = with_metadata(exported[0], tmp_path / "net.onnx", **metadata)
    with pytest.raises(ValueError, match=r"net\.onnx has damaged metadata") as raised:
        load(path)
    assert reason in str(raised.value)


def other_outputs(path):
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["B", 3, 4, 4])
    node = onnx.helper.make_node("Identity", ["images"], ["same"])
    out = onnx.helper.make_tensor_value_info("same", onnx.TensorProto.UINT8, ["B", 3, 4, 4])
    graph = onnx.helper.make_graph([node], "other", [value], [out])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "net.onnx is no file: name an exported detector"),
        (lambda path: path.write_bytes(b"nothing"), "net.onnx is no ONNX file, or damaged"),
        (other_outputs, "net.onnx is no exported detector"),
    ],
)
def test_a_file_that_is_no_exported_detector_is_an_error_in_one_line(tmp_path, make, message):
    make(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=message) as raised:
        load(tmp_path / "net.onnx")
    assert "\n" not in str(raised.value)


def test_without_onnxruntime_the_line_says_what_to_install(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="needs the package onnxruntime: pip install onnxruntime"):
        load(exported[0])


@pytest.mark.parametrize("grey", [False, True])
def test_the_pages_lines_prepare_an_image_as_predict_does(tmp_path, grey):
    """Those of docs/use-it-in-your-project.md."""
    path = tmp_path / "x.png"
    pixels = torch.randint(256, (61, 90, 3), dtype=torch.uint8).numpy()
    Image.fromarray(pixels).save(path)
    side, margin = 32, 5
    prepare = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize(side + margin),
            v2.CenterCrop(side),
            v2.Grayscale(3) if grey else v2.Identity(),
        ]
    )
    ours = resize_and_center_crop(decode(path), (side, side), margin)[None]
    theirs = prepare(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))[None]
    assert torch.equal(theirs, to_grey(ours) if grey else ours)
