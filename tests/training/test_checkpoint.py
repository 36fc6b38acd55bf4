"""Checkpoints that are damaged, would hold NaN, or do not fit into memory."""

import itertools
import random
import re
import zipfile

import pytest
import torch

from dismax import archive
from experiment import records
from tests.common import EVERY_EPOCH, EVERY_STEP, QUICK, record_of, run_folder, without_times
from training import checkpoint, record
from training.epoch_sums import EpochSums
from training.trainer import Trainer


def test_out_of_memory_while_saving_or_loading_damages_no_checkpoint(script, tmp_path):
    code = f"""
import resource
from pathlib import Path
import torch
from dismax import archive
from training import checkpoint
from utils import program
def run_with_limit(megabytes, work, *arguments):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, -1))
    print(program.exit_status(lambda: work(*arguments) and 0, ""))
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
folder, content = Path({str(tmp_path)!r}), {{"weights": torch.ones(2**24)}}
archive.save(folder / "last.pt", content)
for megabytes in (10, 70):
    run_with_limit(megabytes, archive.save, folder / "last.pt", content, folder / "previous.pt")
    run_with_limit(megabytes, checkpoint.load_latest, folder)
assert checkpoint.load_latest(folder)[0]["weights"].equal(content["weights"])
"""
    process = script("-c", code)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["1"] * 4
    line = (
        r"^error: out of memory \(.*\): end other programs, "
        r"or take a smaller batch, network or data set$"
    )
    assert len(re.findall(line, process.stderr, re.M)) == 4
    assert process.stderr.count("\n") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_nan_loss_is_an_error_and_the_last_good_checkpoint_stays(run_main, tmp_path, monkeypatch):
    add = EpochSums.add
    steps = itertools.count()

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
    step = Trainer._step
    steps = itertools.count()

    def broken(trainer, *arguments):
        result = step(trainer, *arguments)
        if next(steps) == 4:
            with torch.no_grad():
                next(trainer.model.parameters())[0] = torch.nan
        return result

    monkeypatch.setattr(Trainer, "_step", broken)
    status, _, err = run_main(*QUICK, *EVERY_STEP)
    assert status == 1
    assert "the weights became NaN or infinite in epoch 2" in err
    assert "the checkpoint after step 1 of epoch 2 is kept in" in err
    saved = checkpoint.load(run_folder(tmp_path) / records.LAST)
    assert all(value.isfinite().all() for value in saved["trainer"]["parameters"].values())


def test_a_checkpoint_that_is_damaged_at_any_byte_is_refused_or_still_the_same(tmp_path):
    path = tmp_path / "some.pt"
    draw = random.Random(0)
    content = {
        "weights": torch.randn(50, 3),
        "epoch": 7,
        "sums": {"loss": torch.tensor(0.1)},
        "names": ["a", "b"],
    }
    archive.save(path, content)
    whole = path.read_bytes()
    refused = 0
    for number in range(600):
        body = bytearray(whole)
        if number % 3:
            body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
        else:
            del body[draw.randrange(len(body)) :]
        path.write_bytes(body)
        try:
            loaded = checkpoint.load(path)
        except ValueError:
            refused += 1
        else:  # the byte has no meaning
            assert loaded["weights"].equal(content["weights"])
            assert loaded["sums"]["loss"].equal(content["sums"]["loss"])
            assert loaded["epoch"] == 7
            assert loaded["names"] == ["a", "b"]
    assert refused > 300


def test_a_checkpoint_with_an_entry_marked_as_a_folder_is_refused(tmp_path):
    """torch would not read this entry."""
    path = tmp_path / "some.pt"
    archive.save(path, {"weights": torch.randn(50, 3), "epoch": 7})
    whole = path.read_bytes()
    for entry in re.finditer(b"PK\1\2", whole):
        body = bytearray(whole)
        body[entry.start() + 38] ^= 0x10
        path.write_bytes(body)
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            checkpoint.load(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_a_run_with_a_damaged_checkpoint_resumes_from_the_one_before(
    run_main, tmp_path, monkeypatch, damage
):
    run_main(*QUICK)
    whole = without_times(record_of(tmp_path))
    (tmp_path / "runs").rename(tmp_path / "earlier")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_predictions", full)
    status, _, err = run_main(*QUICK, *EVERY_STEP)
    assert status == 1
    assert "No space left on device" in err
    path = run_folder(tmp_path) / records.LAST
    body = bytearray(path.read_bytes())
    # Change a byte of the largest entry, because bytes between entries have no meaning.
    with zipfile.ZipFile(path) as entries:
        largest = entries.read(max(entries.infolist(), key=lambda entry: entry.file_size))
    body[body.find(largest) + len(largest) // 3] ^= 4
    changed = {"cut": body[: len(body) // 2], "flipped": body, "empty": b""}
    path.unlink() if damage == "missing" else path.write_bytes(changed[damage])
    status, out, _ = run_main(*QUICK)
    assert status == 1
    assert f"warning: {path} is {'missing' if damage == 'missing' else 'damaged'}" in out
    assert "going on from the checkpoint before it" in out
    assert "resuming after step 3 of epoch 3 of 3" in out
    # The damaged checkpoint did not replace the previous one.
    for name in (records.LAST, records.PREVIOUS):
        checkpoint.load(path.with_name(name))
    monkeypatch.undo()
    assert run_main(*QUICK)[0] == 0
    assert without_times(record_of(tmp_path)) == whole
    assert not path.exists()
