"""main.py with bad input: one line that names it, exit status 2, and nothing is written."""

import numpy as np
import pytest
import torch

import main
from tests.common import QUICK

BAD_INPUT = [
    (["--data", "cifar11"], "'cifar11': choose from digits, cifar10"),
    (["--model", "vgg"], "'vgg': choose from densenetbc100"),
    (["--loss", "dis"], "'dis': choose from softmax"),
    (["--ood", "emnist"], "'emnist': choose from digits"),
    (["--data", "cifar10", "--data-dir", "/nowhere"], "bash prepare-cifar.sh cifar10"),
    (["--batch-size", "4"], "batch of 4 is too small for FPR"),
    (["--batch-size", "1"], "--batch-size must be 2 or more, got 1"),
    (["--limit-train", "5"], "batch of 5 is too small for FPR"),
    (["--runs", ""], "--runs has no value"),  # "" as a path would mean the current folder
    (["--model="], "--model has no value"),
    (["--epochs", "0"], "--epochs must be 1 or more, got 0"),
    (["--seed", "-1"], "--seed must be in 0"),
    (
        ["--epochs", "many"],
        "--epochs: no type matching {None}|INT could be instantiated from ['many']. (python "
        "main.py --help",
    ),
    (
        ["--precision", "fp8"],
        "invalid choice 'fp8' for argument '--precision'. Expected one of ('auto', 'fp32', "
        "'bf16', 'fp16').",
    ),
    (["--leraning-rate", "1"], "Unrecognized options: --leraning-rate"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT)
def test_a_bad_argument_is_named_and_nothing_is_written(run_main, tmp_path, arguments, message):
    status, out, err = run_main(*arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "name", ["cuda", "meta", "abacus", "privateuseone", "hpu", "xpu", "cuda:x", ""]
)
def test_a_device_that_this_machine_lacks_is_an_error(run_main, tmp_path, name):
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    status, _, err = run_main("--device", name)
    assert status == 2
    assert err.startswith(f"error: --device {name} cannot be used here (".replace("  ", " "))
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_images_of_odd_size_are_refused_for_fpr(run_main, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for split in ("train", "test"):
        images = np.zeros((40, 7, 7, 3), np.uint8)
        np.savez(folder / f"{split}.npz", images=images, labels=np.arange(40) % 2)
    status, _, err = run_main("--data", str(folder), "--model", "smallcnn")
    assert status == 2
    assert "even height and width, got 7×7" in err
    assert not (tmp_path / "runs").exists()


def test_a_folder_for_runs_that_cannot_be_written_is_an_error(capsys, tmp_path):
    (tmp_path / "file").write_text("no folder")
    status = main.main(["--runs", str(tmp_path / "file"), "--device", "cpu"])
    err = capsys.readouterr().err
    assert status == 2
    assert err.startswith(
        f"error: cannot write to {tmp_path}/file/digits/smallcnn/dismax/1 (Not a directory): "
        "choose another"
    )
    assert err.count("\n") == 1


def test_a_folder_for_runs_among_the_training_images_is_refused(run_main, tmp_path):
    """Its folder would be a class of the next run."""
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
    status, _, err = run_main(
        "--data", str(tmp_path), "--runs", str(tmp_path / "train" / "runs"), *QUICK
    )
    assert status == 2
    assert err == (
        f"error: --runs {tmp_path}/train/runs lies among the images of {tmp_path}/train: name a "
        "folder elsewhere\n"
    )
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"a", "b"}
