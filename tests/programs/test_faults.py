"""A run on a full or read-only disk, and with too little memory."""

import subprocess

import numpy as np
import pytest

from experiment import lock, records
from tests.common import QUICK, record_of, without_times
from training import checkpoint

LOCK_FILES = {lock.LOCK, lock.HOLDER}


EVERY_EPOCH = ("--checkpoint-every", "1", "epochs")


def test_out_of_memory_is_one_line_that_names_the_way_out(script, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        np.savez(
            tmp_path / f"{split}.npz",
            images=rng.integers(0, 256, (128, 64, 64, 3)).astype(np.uint8),
            labels=np.arange(128) % 2,
        )
    # 200 MiB more than what is used when the network is built.
    limited = """
import resource, sys, main
from training import session
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
    assert "take a smaller batch, network or data set" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for two checkpoints of the digits, but not for three.

    Returns its folder, and a function that mounts it with other options.
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


def test_a_full_disk_keeps_the_last_checkpoint_and_a_read_only_disk_is_named(
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
        *LOCK_FILES,
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
    remount("ro")
    assert run_main(*given)[:2] == (0, f"{folder} is finished: skipped\n")
    run_main(*QUICK)
    results = records.read_record(folder / records.METRICS)
    assert without_times(results) == without_times(record_of(tmp_path))
