"""What a run survives: two processes, full and read-only disks, too little memory, numbers that are
none, damaged checkpoints.
"""

import errno
import fcntl
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
import torch

import detect
import ensemble
from dismax import archive
from experiment import lock, records
from tests.common import QUICK, ROOT, record_of, until, without_times
from training import checkpoint
from training.epoch_sums import EpochSums
from training.trainer import Trainer

EVERY_STEP = ("--checkpoint-every", "0.000001", "minutes")
HELD = {lock.LOCK, lock.HOLDER}
EVERY_EPOCH = ("--checkpoint-every", "1", "epochs")


HOLDING = """
import errno, fcntl, os
from pathlib import Path
def missing(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = missing
from utils import lock
with lock.locked(Path({!r})):
    {}
"""


def folder_of(tmp_path):
    return tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"


def test_of_two_processes_on_a_run_the_second_leaves_until_the_first_is_dead(run_main, tmp_path):
    given = [
        "--epochs",
        "100000",
        "--precision",
        "fp32",
        "--device",
        "cpu",
        "--runs",
        str(tmp_path / "runs"),
    ]
    command = [sys.executable, "main.py", *given]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        until(first, lambda: list(tmp_path.rglob(records.EPOCHS)))
        before = (folder_of(tmp_path) / records.CONFIG).read_bytes()
        status, _, err = run_main("--epochs", "100000")
        assert status == 3
        assert f"is being worked on by process {first.pid} on {socket.gethostname()}" in err
        assert err.count("\n") == 1
        assert (folder_of(tmp_path) / records.CONFIG).read_bytes() == before
        first.kill()
    for name in (records.CONFIG, records.EPOCHS):
        (folder_of(tmp_path) / name).unlink()
    assert run_main(*QUICK)[0] == 0


def test_a_lock_file_of_a_dead_process_does_not_block(run_main, tmp_path):
    folder_of(tmp_path).mkdir(parents=True)
    (folder_of(tmp_path) / lock.LOCK).touch()
    (folder_of(tmp_path) / lock.HOLDER).write_text(
        '{"process": 1, "host": "elsewhere", "since": "yesterday"}'
    )
    assert run_main(*QUICK)[0] == 0


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_without_the_systems_locks_the_file_is_the_lock(tmp_path, monkeypatch):
    """As on Lustre mounted without flock, which this machine has not."""

    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    def another(then="pass"):
        return subprocess.run(
            [sys.executable, "-c", HOLDING.format(str(tmp_path), then)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    monkeypatch.setattr(fcntl, "flock", missing)
    with lock.locked(tmp_path):
        assert f"worked on by process {os.getpid()} on " in another().stderr
    assert another("os.kill(os.getpid(), 9)").returncode == -9
    assert (tmp_path / lock.LOCK).exists()
    with lock.locked(tmp_path, wait=20):
        pass


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("with_flock", [True, False])
def test_a_host_that_changes_its_name_keeps_what_it_has_locked(tmp_path, monkeypatch, with_flock):
    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    if not with_flock:
        monkeypatch.setattr(fcntl, "flock", missing)
    with lock.locked(tmp_path):
        monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
        lock.check(tmp_path)
    with lock.locked(tmp_path):  # it was freed
        lock.check(tmp_path)


def test_another_process_of_the_same_number_and_host_is_another(tmp_path):
    with lock.locked(tmp_path):
        held = json.loads((tmp_path / lock.HOLDER).read_text())
        for token in ({}, {"token": "another"}):  # {}: of an earlier version
            (tmp_path / lock.HOLDER).write_text(
                json.dumps({name: held[name] for name in ("process", "host", "since")} | token)
            )
            with pytest.raises(OSError, match="was deleted, moved or replaced"):
                lock.check(tmp_path)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_mode_that_the_umask_allows(tmp_path, umask):
    before = os.umask(umask)
    try:
        with lock.locked(tmp_path / "run"):
            records.write_json(tmp_path / "run" / records.METRICS, {})
            archive.save(tmp_path / "run" / records.LAST, {}, tmp_path / "run" / records.PREVIOUS)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").iterdir()}
    assert modes == dict.fromkeys(
        [lock.LOCK, lock.HOLDER, records.METRICS, records.LAST], 0o666 & ~umask
    )


@pytest.mark.parametrize("program", [detect, ensemble])
def test_programs_that_write_into_one_folder_wait_for_each_other(
    run_main, tmp_path, monkeypatch, program
):
    for seed in ("1", "2"):
        run_main("--loss", "softmax", "--seed", seed, *QUICK)
    runs = tmp_path / "runs" / "digits" / "smallcnn" / "softmax"
    folder, given = (runs / "1", [str(runs / "1"), "--scores", "energy"])
    if program is ensemble:
        folder, given = runs.parent / "ensemble" / "1+2", [str(runs)]
    reached, status = threading.Event(), []

    def watched(*arguments, **options):
        reached.set()
        return lock.locked(*arguments, **options)

    monkeypatch.setattr(program, "locked", watched)
    thread = threading.Thread(target=lambda: status.append(program.main(given)))
    with lock.locked(folder):
        before = records.read_record(runs / "1" / records.METRICS)
        thread.start()
        assert reached.wait(60)
        time.sleep(0.5)  # it would have written by then
        if program is detect:
            records.write_json(
                folder / records.METRICS,
                before | {"detectors": {"mine": {"title": "Mine", "version": 1}}},
            )
        else:
            assert not (folder / records.METRICS).exists()
    thread.join(60)
    assert status == [0]
    found = records.read_record(folder / records.METRICS)
    assert (
        found["members"] == [1, 2]
        if program is ensemble
        else set(found["detectors"]) == {"mine", "energy"}
    )


def test_a_folder_that_is_deleted_during_its_run_is_noticed(run_main, tmp_path, monkeypatch):
    write_lines = records.write_lines

    def then_delete(path, lines):
        write_lines(path, lines)
        if len(lines) == 2:
            shutil.rmtree(folder_of(tmp_path))

    monkeypatch.setattr(records, "write_lines", then_delete)
    status, _, err = run_main(*QUICK)
    assert status == 1
    assert (
        f"{folder_of(tmp_path)} was deleted, moved or replaced while the run was at work in it"
        in err
    )
    assert not (folder_of(tmp_path) / records.METRICS).exists()
    monkeypatch.undo()
    shutil.rmtree(folder_of(tmp_path))
    assert run_main(*QUICK)[0] == 0


def test_out_of_memory_names_the_batch_size(script, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        np.savez(
            tmp_path / f"{split}.npz",
            images=rng.integers(0, 256, (128, 64, 64, 3)).astype(np.uint8),
            labels=np.arange(128) % 2,
        )
    # So much more than what is taken when the network is built.
    limited = """
import resource, sys, main, session
train = session.Session.train
def with_little(self):
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 2**20,) * 2)
    train(self)
session.Session.train = with_little
sys.exit(main.main())
"""
    given = [
        "--data",
        str(tmp_path),
        "--model",
        "densenetbc22",
        "--batch-size",
        "128",
        "--epochs",
        "1",
        "--ood",
        "noise",
    ]
    done = script(
        "-c",
        limited,
        *given,
        "--protocol",
        "paper",
        "--precision",
        "fp32",
        "--device",
        "cpu",
        "--runs",
        str(tmp_path / "runs"),
    )
    assert done.returncode == 1, done.stderr
    assert "error: out of memory" in done.stderr
    assert "take a smaller --batch-size or network" in done.stderr
    assert done.stderr.count("\n") == 1


def test_memory_that_ends_at_a_checkpoint_damages_none(script, tmp_path):
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


def test_a_loss_that_is_no_number_is_named_and_the_last_good_checkpoint_kept(
    run_main, tmp_path, monkeypatch
):
    add, steps = EpochSums.add, iter(range(100))

    def broken(sums, loss, *rest):
        add(sums, loss * float("nan") if next(steps) == 4 else loss, *rest)

    monkeypatch.setattr(EpochSums, "add", broken)
    status, _, err = run_main(*QUICK, *EVERY_EPOCH)
    assert status == 1
    assert "the loss became NaN or infinite in epoch 2 at step 2 (learning rate 0.1)" in err
    assert "the checkpoint after epoch 1 is kept in" in err
    assert err.count("\n") == 1
    saved = checkpoint.load(folder_of(tmp_path) / records.LAST)
    assert saved["trainer"]["epoch"] == 1
    monkeypatch.undo()
    assert run_main(*QUICK)[0] == 0


def test_weights_that_are_no_numbers_are_never_kept(run_main, tmp_path, monkeypatch):
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
    saved = checkpoint.load(folder_of(tmp_path) / records.LAST)
    assert all(value.isfinite().all() for value in saved["trainer"]["parameters"].values())


def test_a_damaged_checkpoint_is_noticed_whichever_byte_it_is(tmp_path):
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
    for entry in re.finditer(b"PK\1\2", whole):  # marked as folders, parts would not be read
        body = bytearray(whole)
        body[entry.start() + 38] ^= 0x10
        path.write_bytes(body)
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            checkpoint.load(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(
    run_main, tmp_path, monkeypatch, damage
):
    run_main(*QUICK)
    whole = without_times(record_of(tmp_path))
    (tmp_path / "runs").rename(tmp_path / "earlier")
    monkeypatch.setattr(
        records,
        "write_predictions",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    status, _, err = run_main(*QUICK, *EVERY_STEP)
    assert (status, "No space left on device" in err) == (1, True)
    path = folder_of(tmp_path) / records.LAST
    body = bytearray(path.read_bytes())
    # The largest part, since bytes between the parts mean nothing.
    with zipfile.ZipFile(path) as archive:
        largest = archive.read(max(archive.infolist(), key=lambda part: part.file_size))
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


@pytest.fixture
def small_disk(tmp_path):
    """Of two checkpoints of the digits, not of three: a file system's folder, and a function that
    mounts it otherwise.
    """
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2200k", "tmpfs", str(place)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a file system")
    yield (
        place,
        lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", str(place)], check=True
        ),
    )
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_the_last_checkpoint_and_a_read_only_one_is_named(
    small_disk, run_main, tmp_path
):
    place, remount = small_disk
    given = (*QUICK, *EVERY_EPOCH, "--runs", str(place / "runs"))
    folder = place / "runs" / "digits" / "smallcnn" / "dismax" / "1"
    remount("ro")
    status, _, err = run_main(*given)
    assert status == 2
    assert f"cannot write to {folder} (Read-only file system)" in err
    remount("rw")
    status, _, err = run_main(*given)
    assert status == 1
    assert (
        f"No space left on device: '{folder / records.LAST}'; the checkpoint after epoch 2 is "
        f"kept in {folder}" in err
    )
    assert err.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == {
        *HELD,
        records.CONFIG,
        records.EPOCHS,
        records.LAST,
        records.PREVIOUS,
    }
    assert checkpoint.load(folder / records.LAST)["trainer"]["epoch"] == 2
    assert checkpoint.load(folder / records.PREVIOUS)["trainer"]["epoch"] == 1
    remount("size=20m")
    status, out, _ = run_main(*given)
    assert (status, "resuming after epoch 2" in out) == (0, True)
    run_main(*QUICK)
    record = records.read_record(folder / records.METRICS)
    assert without_times(record) == without_times(record_of(tmp_path))
