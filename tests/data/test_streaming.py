"""Sets too large for memory: the same batches and the same results, out of files."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import get_worker_info

from data import files, sources, streaming
from data.batches import Normalizer, TrainingBatches
from data.streaming import ImageFiles
from experiment import records
from tests.common import ROOT, until
from tests.stepping import epoch_of
from utils import interruption


@pytest.fixture
def folder(tmp_path):
    """Three classes of 8×8 images, 40 to train on and 20 to test on each, told apart by their
    brightness.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 20)):
        for number, name in enumerate(("dark", "middle", "light")):
            (tmp_path / "mine" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(60 * number, 60 * number + 100, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "mine" / split / name / f"{i}.png")
    return tmp_path / "mine"


def options(folder, *more):
    """The options of a small run on a folder of images."""
    return ["--data", str(folder), "--model", "smallcnn", "--ood", "noise", *more]


def both(folder, monkeypatch):
    """The training set in memory, and streamed."""
    in_memory, _ = sources.load_train_and_test(str(folder), folder)
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    streamed, _ = sources.load_train_and_test(str(folder), folder)
    assert isinstance(streamed, ImageFiles)
    return in_memory, streamed


def test_streamed_batches_are_those_from_memory_and_the_global_generator_stays(folder, monkeypatch):
    epochs = []
    for images in both(folder, monkeypatch):
        batches = TrainingBatches(
            images,
            Normalizer((0.5,) * 3, (0.2,) * 3, torch.device("cpu")),
            32,
            1,
            True,
            torch.device("cpu"),
        )
        torch.manual_seed(0)
        epochs.append(epoch_of(batches, 7))
        epochs[-1].append((torch.rand(1), torch.rand(1)))
    assert [len(targets) for _, targets in epochs[0]] == [32, 32, 32, 24, 1]
    for expected, given in zip(*epochs, strict=True):
        assert all(a.equal(b) for a, b in zip(expected, given, strict=True))


def test_a_streamed_run_records_what_one_from_memory_does(folder, run_main, tmp_path, monkeypatch):
    found = []
    for limit in (files.IN_MEMORY, 0):
        monkeypatch.setattr(files, "IN_MEMORY", limit)
        runs = str(tmp_path / f"runs{limit}")
        status, _, err = run_main(*options(folder, "--epochs", "2", "--runs", runs))
        assert (status, err) == (0, "")
        run = tmp_path / f"runs{limit}" / "mine" / "smallcnn" / "dismax" / "1"
        record = records.read_record(run / records.METRICS)
        log = [
            json.loads(line) | {"images_per_second": 0}
            for line in (run / records.EPOCHS).read_text().splitlines()
        ]
        found.append(
            (
                {
                    key: record[key]
                    for key in ("temperature", "classification", "detection", "best")
                },
                log,
            )
        )
    assert found[0] == found[1]


def test_a_damaged_image_of_a_streamed_set_is_named_and_costs_no_epoch(
    folder, run_main, monkeypatch
):
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    damaged = folder / "test" / "dark" / "3.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:90])  # its head is whole
    given = options(folder, "--epochs", "1", "--protocol", "paper")
    status, _, err = run_main(*given)
    assert status == 1
    assert str(damaged) in err
    assert len(err.splitlines()) == 1
    damaged.write_bytes(whole)
    status, out, _ = run_main(*given)
    assert status == 0
    assert "resuming after epoch 1 of 1" in out


def test_an_image_that_is_deleted_during_a_run_is_named_and_the_run_goes_on_once_it_is_back(
    folder, run_main, monkeypatch
):
    """Before the first step too, when there is no loss yet."""
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    given = options(folder, "--epochs", "2", "--protocol", "paper", "--batch-size", "128")
    image, decoded = folder / "train" / "dark" / "3.png", TrainingBatches.decoded
    whole = image.read_bytes()

    def without_it(*given):
        image.unlink()
        return decoded(*given)

    monkeypatch.setattr(TrainingBatches, "decoded", without_it)
    status, _, err = run_main(*given)
    assert status == 1
    assert re.fullmatch(
        rf"error: {image} is not there, or .*; the checkpoint after step 0 of epoch 1 "
        rf"is kept in .*\n",
        err,
    )
    monkeypatch.setattr(TrainingBatches, "decoded", decoded)
    image.write_bytes(whole)
    status, out, _ = run_main(*given)
    assert (status, "resuming after step 0 of epoch 1 of 2" in out) == (0, True)


def test_a_killed_process_of_a_streamed_set_is_said_in_one_line(folder, run_main, monkeypatch):
    decode = streaming.decode_to_resize

    def fatal(path, *options):
        if get_worker_info() and path.name == "7.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(path, *options)

    monkeypatch.setattr(streaming, "decode_to_resize", fatal)
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    status, _, err = run_main(*options(folder, "--epochs", "1"))
    assert status == 1
    assert "a process that decodes images was killed" in err
    assert len(err.splitlines()) == 1


def test_ctrl_c_stops_a_streamed_run_and_its_processes(folder, tmp_path):
    streamed = (
        "import sys; from data import files; files.IN_MEMORY = 0; from utils import interruption; "
        "interruption.listen(); "
        "import main; sys.exit(main.main(sys.argv[1:]))"
    )
    given = options(folder, "--epochs", "500", "--runs", str(tmp_path / "runs"), "--device", "cpu")
    command = [sys.executable, "-c", streamed, *given]
    # In a group of its own, all of which a terminal's Ctrl-C reaches.
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until(process, lambda: list(tmp_path.rglob(records.EPOCHS)))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == interruption.STATUS
    assert re.search(
        r"\ninterrupted: the checkpoint after .* is kept in .*; "
        r"run the same command again to continue\n$",
        err,
    )
    with pytest.raises(ProcessLookupError):  # none is left
        os.killpg(process.pid, 0)


def test_several_sizes_are_found_before_anything_is_decoded(
    folder, run_main, tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    Image.new("RGB", (9, 8)).save(folder / "train" / "light" / "9.png")
    status, _, err = run_main(*options(folder))
    assert status == 2
    assert "8×9" in err
    assert not (tmp_path / "runs").exists()
