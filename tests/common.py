"""What tests of several folders share."""

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
# Losses that tests/losses/test_definitions.py tests; each other loss has a file of its own.
PROTOTYPES = ("softmax", "isomax", "isomaxplus", "dismax", "dismax_nofpr")


def until(process, happened, seconds=120):
    """Wait until something has happened; fails if the process ends first or time runs out."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end
        time.sleep(0.05)


def record_of(tmp_path, loss="dismax", seed=1):
    """The record of a run that `run_main` made."""
    return records.read_record(
        tmp_path / "runs" / "digits" / "smallcnn" / loss / str(seed) / records.METRICS
    )


def without_times(record):
    """What two runs of one identity have in common."""
    return {
        name: value
        for name, value in record.items()
        if name not in ("started", "seconds", "environment", "config")
    }


def interrupted(run_main, monkeypatch, stop_after, *arguments):
    """Start a run and interrupt it after so many epochs; what it said on standard error."""
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
    """Fails instead of waiting for ever."""

    def stop(*_):
        raise AssertionError("it waits")

    held = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, held)


def special(path, kind):
    """Puts what is no regular file in a place."""
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
        with socket.socket(socket.AF_UNIX) as made:
            os.chdir(path.parent)  # a socket's path is short
            made.bind(path.name)
            os.chdir(ROOT)
