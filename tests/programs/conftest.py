"""Finished runs for the tests of the programs that read them."""

import shutil

import pytest
from PIL import Image

import main
from dismax.detector import Detector
from experiment import records
from experiment.config import RunConfig
from experiment.data import load_data
from tests.common import QUICK, record_of


@pytest.fixture(scope="session")
def finished_digits(tmp_path_factory):
    """The folder of four finished runs on the digits, not to be changed: SoftMax with two seeds,
    GODIN and DisMax. SoftMax's second run and DisMax's saved their features.
    """
    runs = tmp_path_factory.mktemp("finished") / "runs"
    for arguments in (
        ["--loss", "softmax"],
        ["--loss", "softmax", "--seed", "2", "--keep-features"],
        ["--loss", "godin"],
        ["--loss", "dismax", "--keep-features"],
    ):
        options = ["--precision", "fp32", "--runs", str(runs), "--device", "cpu", *QUICK]
        assert main.main([*options, *arguments]) == 0
    return runs / "digits" / "smallcnn"


@pytest.fixture
def runs(finished_digits, tmp_path):
    """A copy of these runs that the test may change."""
    return shutil.copytree(finished_digits, tmp_path / "runs" / "digits" / "smallcnn")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a finished run, a folder with seven of its test images, and what the run's
    detector returns for these images.
    """
    place = tmp_path_factory.mktemp("predict")
    assert main.main(["--runs", str(place / "runs"), "--device", "cpu", *QUICK]) == 0
    config = RunConfig.from_json(record_of(place)["config"])
    pixels = load_data(config).evaluation["test"].pixels[:7]
    (place / "images" / "some").mkdir(parents=True)
    for number, image in enumerate(pixels):
        path = place / "images" / "some" / f"{number}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    folder = place / "runs" / "digits" / "smallcnn" / "dismax" / "1"
    return folder, place / "images", Detector.load(folder / records.MODEL)(pixels)
