"""Finished runs for the tests of the programs that read them."""

import shutil

import pytest

import main
from tests.common import QUICK


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
