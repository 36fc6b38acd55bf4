"""The lock of a run's folder: only one process at a time works in it."""

import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

import detect
import ensemble
from dismax import archive
from experiment import detection, lock, outputs, records
from tests.common import QUICK, ROOT, run_folder, until

LOCK_WITHOUT_FLOCK = """
import errno, fcntl, os
from pathlib import Path
def missing(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = missing
from experiment import lock
with lock.locked(Path({!r})):
    {}
"""


@pytest.fixture
def no_flock(monkeypatch):
    """A file system without flock, as Lustre can be."""

    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)


def test_a_second_process_exits_with_3_while_the_first_makes_the_run(run_main, tmp_path):
    options = [
        "--epochs",
        "100000",
        "--precision",
        "fp32",
        "--device",
        "cpu",
        "--runs",
        str(tmp_path / "runs"),
    ]
    command = [sys.executable, "main.py", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        until(first, lambda: list(tmp_path.rglob(records.EPOCHS)))
        before = (run_folder(tmp_path) / records.CONFIG).read_bytes()
        status, _, err = run_main("--epochs", "100000")
        assert status == 3
        assert f"is being worked on by process {first.pid} on {socket.gethostname()}" in err
        assert err.count("\n") == 1
        assert (run_folder(tmp_path) / records.CONFIG).read_bytes() == before
        first.kill()
    for name in (records.CONFIG, records.EPOCHS):
        (run_folder(tmp_path) / name).unlink()
    assert run_main(*QUICK)[0] == 0


def test_a_lock_file_of_a_dead_process_does_not_block(run_main, tmp_path):
    run_folder(tmp_path).mkdir(parents=True)
    (run_folder(tmp_path) / lock.LOCK).touch()
    (run_folder(tmp_path) / lock.HOLDER).write_text(
        '{"process": 1, "host": "elsewhere", "since": "yesterday"}'
    )
    assert run_main(*QUICK)[0] == 0


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_without_flock_the_file_is_the_lock(tmp_path, no_flock):
    def lock_in_another_process(code):
        """Run code in another process, under the lock."""
        return subprocess.run(
            [sys.executable, "-c", LOCK_WITHOUT_FLOCK.format(str(tmp_path), code)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    with lock.locked(tmp_path):
        process = lock_in_another_process("pass")
        assert f"worked on by process {os.getpid()} on " in process.stderr
    process = lock_in_another_process("os.kill(os.getpid(), 9)")
    assert process.returncode == -9
    assert (tmp_path / lock.LOCK).exists()
    with lock.locked(tmp_path, wait=20):
        pass


def assert_the_lock_survives_another_host_name(tmp_path, monkeypatch):
    with lock.locked(tmp_path):
        monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
        lock.check(tmp_path)
    with lock.locked(tmp_path):  # the first lock was released
        lock.check(tmp_path)


def test_a_host_that_changes_its_name_keeps_its_lock(tmp_path, monkeypatch):
    assert_the_lock_survives_another_host_name(tmp_path, monkeypatch)


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_host_without_flock_that_changes_its_name_keeps_its_lock(tmp_path, monkeypatch, no_flock):
    assert_the_lock_survives_another_host_name(tmp_path, monkeypatch)


def test_a_process_with_the_same_number_and_host_name_does_not_own_the_lock(tmp_path):
    with lock.locked(tmp_path):
        holder = json.loads((tmp_path / lock.HOLDER).read_text())
        same = {name: holder[name] for name in ("process", "host", "since")}
        # An earlier version wrote no token.
        for content in (same, same | {"token": "another"}):
            (tmp_path / lock.HOLDER).write_text(json.dumps(content))
            with pytest.raises(OSError, match="was deleted, moved or replaced"):
                lock.check(tmp_path)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_permissions_that_the_umask_allows(tmp_path, umask):
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


@pytest.mark.parametrize(("program", "writer"), [(detect, detection), (ensemble, outputs)])
def test_a_program_waits_for_another_process_in_the_folder(
    run_main, tmp_path, monkeypatch, program, writer
):
    for seed in ("1", "2"):
        run_main("--loss", "softmax", "--seed", seed, *QUICK)
    runs = tmp_path / "runs" / "digits" / "smallcnn" / "softmax"
    if program is detect:
        folder = runs / "1"
        arguments = [str(runs / "1"), "--scores", "energy"]
    else:
        folder = runs.parent / "ensemble" / "1+2"
        arguments = [str(runs)]
    waiting = threading.Event()
    statuses = []

    def locked(*arguments, **options):
        waiting.set()
        return lock.locked(*arguments, **options)

    monkeypatch.setattr(writer, "locked", locked)
    thread = threading.Thread(target=lambda: statuses.append(program.main(arguments)))
    with lock.locked(folder):
        before = records.read_record(runs / "1" / records.METRICS)
        thread.start()
        assert waiting.wait(60)
        time.sleep(0.5)  # without the lock, it would have written by now
        if program is detect:
            records.write_json(
                folder / records.METRICS,
                before | {"detectors": {"mine": {"title": "Mine", "version": 1}}},
            )
        else:
            assert not (folder / records.METRICS).exists()
    thread.join(60)
    assert statuses == [0]
    record = records.read_record(folder / records.METRICS)
    if program is detect:
        assert set(record["detectors"]) == {"mine", "energy"}
    else:
        assert record["members"] == [1, 2]


def test_a_run_whose_folder_is_deleted_is_an_error(run_main, tmp_path, monkeypatch):
    write_lines = records.write_lines

    def write_and_delete(path, lines):
        write_lines(path, lines)
        if len(lines) == 2:
            shutil.rmtree(run_folder(tmp_path))

    monkeypatch.setattr(records, "write_lines", write_and_delete)
    status, _, err = run_main(*QUICK)
    assert status == 1
    message = "was deleted, moved or replaced while the run was at work in it"
    assert f"{run_folder(tmp_path)} {message}" in err
    assert not (run_folder(tmp_path) / records.METRICS).exists()
    monkeypatch.undo()
    shutil.rmtree(run_folder(tmp_path))
    assert run_main(*QUICK)[0] == 0
