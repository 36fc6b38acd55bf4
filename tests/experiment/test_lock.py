"""One process at a time in a run's folder."""

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
from experiment import lock, records
from tests.common import QUICK, ROOT, until

LOCK_IN_ANOTHER_PROCESS = """
import errno, fcntl, os
from pathlib import Path
def missing(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = missing
from experiment import lock
with lock.locked(Path({!r})):
    {}
"""


def run_folder(tmp_path):
    return tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"


def test_a_second_process_leaves_while_the_first_makes_the_run(run_main, tmp_path):
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
def test_without_flock_the_file_is_the_lock(tmp_path, monkeypatch):
    """Lustre can be mounted without flock, for example."""

    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    def another(then="pass"):
        return subprocess.run(
            [sys.executable, "-c", LOCK_IN_ANOTHER_PROCESS.format(str(tmp_path), then)],
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


def test_a_process_with_the_same_number_and_host_is_another_process(tmp_path):
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
def test_programs_wait_for_another_process_in_the_folder(run_main, tmp_path, monkeypatch, program):
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
            shutil.rmtree(run_folder(tmp_path))

    monkeypatch.setattr(records, "write_lines", then_delete)
    status, _, err = run_main(*QUICK)
    assert status == 1
    assert (
        f"{run_folder(tmp_path)} was deleted, moved or replaced while the run was at work in it"
        in err
    )
    assert not (run_folder(tmp_path) / records.METRICS).exists()
    monkeypatch.undo()
    shutil.rmtree(run_folder(tmp_path))
    assert run_main(*QUICK)[0] == 0
