"""The network that the package brings along."""

import pytest
import torch
from sklearn.datasets import load_sample_images

from dismax import saved
from dismax.detector import Detector
from dismax.shipped import FOLDER, names, resolve
from experiment import records
from experiment.weights import fingerprint
from tests.common import ROOT

RUN = "60-epochs/CIFAR-10/wideresnet102/dismax_nofpr/1"
RECORD = ROOT / "results" / "schedule_or_capacity" / "runs" / RUN / "metrics.json"


@pytest.fixture(scope="module")
def crops():
    """48 crops of two photographs that show none of the ten classes, uint8 [48, 3, 32, 32]."""
    crops = []
    for pixels in load_sample_images().images:
        image = torch.tensor(pixels[:384, :576]).permute(2, 0, 1).float()[None]
        small = torch.nn.functional.interpolate(
            image, scale_factor=1 / 3, mode="bilinear", antialias=True
        )
        tiles = small[0].unfold(1, 32, 32).unfold(2, 32, 32).permute(1, 2, 0, 3, 4)
        crops.append(tiles.flatten(0, 1).round().to(torch.uint8))
    return torch.cat(crops)


def test_the_network_refuses_most_photographs_of_other_things(crops):
    refused = {
        score: float((~Detector.load("cifar10", score=score)(crops).accepted).double().mean())
        for score in ("own", "combined")
    }
    assert refused["combined"] > refused["own"] > 0.5
    assert refused["combined"] > 0.75


def test_its_record_tells_what_it_is():
    record = records.read_record(RECORD)
    detector = Detector.load("cifar10")
    assert detector.class_names[:3] == ("airplane", "automobile", "bird")
    assert (detector.size, detector.score.name) == ((32, 32), "combined")
    assert float(detector.head.temperature) == pytest.approx(record["temperature"]["value"])
    network, _ = saved.load_network(FOLDER / "cifar10.pt", scores=False)
    assert fingerprint(network.body) == record["body_sha256"]
    assert (FOLDER / "cifar10.pt").stat().st_size < 4_000_000


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    assert names() == ["cifar10"]
    assert resolve("cifar10") == FOLDER / "cifar10.pt"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10").mkdir()
    assert resolve("cifar10").samefile(tmp_path / "cifar10")
    with pytest.raises(ValueError, match="cifar11 is no file: name .* or one of cifar10"):
        Detector.load("cifar11")
