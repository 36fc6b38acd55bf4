"""Damaged checkpoints, NaN, and too little memory for a checkpoint."""

import random
import re
import zipfile

import pytest
import torch

from dismax import archive
from experiment import records
from tests.common import QUICK, record_of, without_times
from training import checkpoint, record
from training.epoch_sums import EpochSums
from training.trainer import Trainer

EVERY_STEP = ("--checkpoint-every", "0.000001", "minutes")


EVERY_EPOCH = ("--checkpoint-every", "1", "epochs")


def run_folder(tmp_path):
    return tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"


def test_out_of_memory_at_a_checkpoint_damages_none(script, tmp_path):
    limited = f"""
import resource
from pathlib import Path
import torch
from dismax import archive
from training import checkpoint
from utils import program
def with_megabytes(some, work, *given):
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + some * 2**20, -1))
    print(program.exit_status(lambda: work(*given) and 0, ""))
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
folder, content = Path({str(tmp_path)!r}), {{"weights": torch.ones(2**24)}}
archive.save(folder / "last.pt", content)
for some in (10, 70):
    with_megabytes(some, archive.save, folder / "last.pt", content, folder / "previous.pt")
    with_megabytes(some, checkpoint.load_latest, folder)
assert checkpoint.load_latest(folder)[0]["weights"].equal(content["weights"])
"""
    done = script("-c", limited)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"] * 4
    line = (
        r"^error: out of memory \(.*\): take a smaller --batch-size or network, "
        r"or end other programs$"
    )
    assert len(re.findall(line, done.stderr, re.M)) == 4
    assert done.stderr.count("\n") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_nan_loss_is_named_and_the_last_good_checkpoint_stays(run_main, tmp_path, monkeypatch):
    add, steps = EpochSums.add, iter(range(100))

    def broken(sums, loss, *rest):
        add(sums, loss * float("nan") if next(steps) == 4 else loss, *rest)

    monkeypatch.setattr(EpochSums, "add", broken)
    status, _, err = run_main(*QUICK, *EVERY_EPOCH)
    assert status == 1
    assert "the loss became NaN or infinite in epoch 2 at step 2 (learning rate 0.1)" in err
    assert "the checkpoint after epoch 1 is kept in" in err
    assert err.count("\n") == 1
    saved = checkpoint.load(run_folder(tmp_path) / records.LAST)
    assert saved["trainer"]["epoch"] == 1
    monkeypatch.undo()
    assert run_main(*QUICK)[0] == 0


def test_nan_weights_are_never_saved(run_main, tmp_path, monkeypatch):
    step, steps = Trainer._step, iter(range(100))

    def broken(trainer, *given):
        labelled = step(trainer, *given)
        if next(steps) == 4:
            with torch.no_grad():
                next(trainer.model.parameters())[0] = torch.nan
        return labelled

    monkeypatch.setattr(Trainer, "_step", broken)
    status, _, err = run_main(*QUICK, *EVERY_STEP)
    assert status == 1
    assert "the weights became NaN or infinite in epoch 2" in err
    assert "the checkpoint after step 1 of epoch 2 is kept in" in err
    saved = checkpoint.load(run_folder(tmp_path) / records.LAST)
    assert all(value.isfinite().all() for value in saved["trainer"]["parameters"].values())


def test_a_damaged_checkpoint_is_noticed_at_any_byte(tmp_path):
    path, draw = tmp_path / "some.pt", random.Random(0)
    content = {
        "weights": torch.randn(50, 3),
        "epoch": 7,
        "sums": {"loss": torch.tensor(0.1)},
        "names": ["a", "b"],
    }
    archive.save(path, content)
    whole, noticed = path.read_bytes(), 0
    for number in range(600):
        body = bytearray(whole)
        if number % 3:
            body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
        else:
            del body[draw.randrange(len(body)) :]
        path.write_bytes(body)
        try:
            found = checkpoint.load(path)
        except ValueError:
            noticed += 1
        else:  # a byte without meaning
            assert found["weights"].equal(content["weights"])
            assert found["sums"]["loss"].equal(content["sums"]["loss"])
            assert (found["epoch"], found["names"]) == (7, ["a", "b"])
    assert noticed > 300
    for entry in re.finditer(
        b"PK\1\2", whole
    ):  # torch does not read parts that are marked as folders
        body = bytearray(whole)
        body[entry.start() + 38] ^= 0x10
        path.write_bytes(body)
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            checkpoint.load(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_after_a_damaged_checkpoint_the_run_goes_on_from_the_one_before(
    run_main, tmp_path, monkeypatch, damage
):
    run_main(*QUICK)
    whole = without_times(record_of(tmp_path))
    (tmp_path / "runs").rename(tmp_path / "earlier")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_predictions", full)
    status, _, err = run_main(*QUICK, *EVERY_STEP)
    assert (status, "No space left on device" in err) == (1, True)
    path = run_folder(tmp_path) / records.LAST
    body = bytearray(path.read_bytes())
    # A byte of the largest part: bytes between the parts mean nothing.
    with zipfile.ZipFile(path) as parts:
        largest = parts.read(max(parts.infolist(), key=lambda part: part.file_size))
    body[body.find(largest) + len(largest) // 3] ^= 4
    changed = {"cut": body[: len(body) // 2], "flipped": body, "empty": b""}
    path.unlink() if damage == "missing" else path.write_bytes(changed[damage])
    status, out, _ = run_main(*QUICK)
    assert status == 1
    assert f"warning: {path} is {'missing' if damage == 'missing' else 'damaged'}" in out
    assert "going on from the checkpoint before it" in out
    assert "resuming after step 3 of epoch 3 of 3" in out
    for name in (records.LAST, records.PREVIOUS):  # the damaged one did not become the one before
        checkpoint.load(path.with_name(name))
    monkeypatch.undo()
    assert run_main(*QUICK)[0] == 0
    assert without_times(record_of(tmp_path)) == whole
    assert not path.exists()
