"""Helpers for tests of several folders."""

import os
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path

from experiment import records
from utils import interruption

ROOT = Path(__file__).parent.parent
QUICK = ("--epochs", "3")
EVERY_STEP = ("--checkpoint-every", "0.000001", "minutes")
EVERY_EPOCH = ("--checkpoint-every", "1", "epochs")
# Losses of one equation. The others are tested in losses/test_methods.py.
PROTOTYPES = ("softmax", "isomax", "isomaxplus", "dismax", "dismax_nofpr")


def until(process, happened, seconds=120):
    """Wait until `happened()` is true. Fail if the process ends first or the time is over."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end
        time.sleep(0.05)


def run_folder(tmp_path, loss="dismax", seed=1):
    """The folder of a run that `run_main` made."""
    return tmp_path / "runs" / "digits" / "smallcnn" / loss / str(seed)


def record_of(tmp_path, loss="dismax", seed=1):
    """The record of a run that `run_main` made."""
    return records.read_record(run_folder(tmp_path, loss, seed) / records.METRICS)


def without_times(record):
    """The fields of a record that are equal in every run with the same identity."""
    return {
        name: value
        for name, value in record.items()
        if name not in ("started", "seconds", "environment", "config")
    }


def interrupted(run_main, monkeypatch, stop_after, *arguments):
    """Start a run and interrupt it after `stop_after` epochs. Returns its standard error."""
    write_lines = records.write_lines

    def interrupt(path, lines):
        write_lines(path, lines)
        if len(lines) == stop_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(records, "write_lines", interrupt)
    status, _, err = run_main(*arguments)
    monkeypatch.undo()
    assert status == interruption.STATUS
    return err


@contextmanager
def in_time(seconds=20):
    """Fail if the block takes longer, instead of waiting forever."""

    def stop(*_):
        raise AssertionError("it waits")

    previous_handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous_handler)


def special(path, kind):
    """Replace a path with something that is not a regular file.

    Args:
        path: the place; its folder may be missing.
        kind: "pipe", "link to a pipe", "endless" (a link to /dev/zero) or "socket".
    """
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.parent / "pipe")
        path.symlink_to("pipe")
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            os.chdir(path.parent)  # a socket's path must be short
            sock.bind(path.name)
            os.chdir(ROOT)
