"""Signals at any moment, in programs and scripts."""

import os
import signal
import subprocess
import sys
import time

import pytest

from experiment import lock, records
from tests.common import ROOT, until
from utils import interruption

CPU = ("--precision", "fp32", "--device", "cpu")
# All files in the folder of a run that was stopped in training.
FILES_OF_A_STOPPED_RUN = {
    records.CONFIG,
    records.EPOCHS,
    records.LAST,
    lock.LOCK,
    lock.HOLDER,
}


@pytest.mark.parametrize(
    "signal_",
    [
        signal.SIGINT,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGTERM, signal.SIGUSR1)),
    ],
)
def test_a_signal_stops_the_run_and_leaves_whole_files(tmp_path, signal_):
    command = [
        sys.executable,
        "main.py",
        "--epochs",
        "500",
        "--runs",
        str(tmp_path / "runs"),
        "--device",
        "cpu",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(process, lambda: list(tmp_path.rglob(records.EPOCHS)))
        process.send_signal(signal_)
        for _ in range(20):  # impatience changes nothing
            time.sleep(0.01)
            process.send_signal(signal_)
        _, err = process.communicate(timeout=60)
    assert process.returncode == interruption.STATUS
    assert "; run the same command again to continue\n" in err
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.rglob("*.*")} == FILES_OF_A_STOPPED_RUN


def test_a_closed_terminal_stops_the_run_and_leaves_whole_files(tmp_path):
    """Its processes get SIGHUP, and nothing can be written to it any more."""
    ours, theirs = os.openpty()
    opened = os.ttyname(theirs)
    command = [
        "sh",
        "-c",
        f"exec {sys.executable} main.py --epochs 500 --runs {tmp_path}/runs --device cpu "
        f"<>{opened} >&0 2>&0",
    ]
    # Opened by the first process of a session, it is this session's terminal.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    with process:
        until(process, lambda: list(tmp_path.rglob(records.EPOCHS)))
        os.close(theirs)
        os.close(ours)
        process.wait(60)
    assert process.returncode == interruption.STATUS
    assert {path.name for path in tmp_path.rglob("*.*")} == FILES_OF_A_STOPPED_RUN


@pytest.mark.parametrize("ignored", [True, False])
def test_a_closed_terminal_ends_nothing_under_nohup(ignored):
    program = (
        "import signal; from utils import interruption as i; i.begin(); i.listen(); "
        "print(signal.getsignal(signal.SIGHUP))"
    )
    started = signal.SIG_IGN if ignored else signal.SIG_DFL
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, started),
    )
    assert ("_interrupt" not in done.stdout) == ignored, done.stderr


@pytest.mark.parametrize(
    "program",
    ["main.py", "detect.py", "ensemble.py", "example.py", "-m data.prepare", "-m benchmarks.heads"],
)
def test_a_signal_during_the_imports_ends_in_one_line(tmp_path, program):
    command = [
        sys.executable,
        "-X",
        "importtime",
        *program.split(),
        "--runs",
        str(tmp_path / "runs"),
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.endswith(" utils.interruption\n"):
                break
        time.sleep(0.2)  # torch takes longer
        process.send_signal(signal.SIGINT)
        lines = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.returncode == interruption.STATUS
    begun = (
        "what has arrived is kept; run the same command again to continue"
        if "prepare" in program
        else "nothing was begun"
    )
    assert lines == ["\n", f"interrupted: {begun}\n"]
    assert not (tmp_path / "runs").exists()


def test_a_signal_ends_a_benchmark_in_one_line():
    program = (
        "import os; from benchmarks import common; common.end_well(lambda: os.kill(os.getpid(), "
        f"{int(signal.SIGTERM)}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == interruption.STATUS
    assert done.stderr.endswith("\ninterrupted: the table is not complete\n")
    assert "Traceback" not in done.stderr


def test_after_an_interrupt_that_python_dropped_the_next_one_raises(monkeypatch):
    for name in ("_asked", "_leaving"):
        monkeypatch.setattr(interruption, name, False)
    monkeypatch.setattr(sys, "unraisablehook", interruption._note_dropped)

    class Dropping:
        def __del__(self):
            interruption._interrupt()

    Dropping()
    with pytest.raises(KeyboardInterrupt):
        interruption._interrupt()
    interruption._interrupt()  # impatience


@pytest.mark.parametrize("interrupted", [True, False])
def test_the_destructor_of_a_half_made_object_prints_no_error(script, interrupted):
    """As torch's DataLoader, whose destructor looks for what its constructor did not come to."""
    program = f"""
import os
from utils import interruption

class HalfMade:
    def __init__(self):
        if {interrupted}:
            os.kill(os.getpid(), 15)
        self.whole = {interrupted}
    def __del__(self):
        self.workers

interruption.listen()
try:
    HalfMade()
except KeyboardInterrupt:
    pass
"""
    assert ("AttributeError" in script("-c", program).stderr) != interrupted


def ignore_nothing():
    """In a new process: nohup, or a script's `&`, may make this one ignore the signals."""
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


def test_ctrl_c_ends_a_script_whatever_its_run_exits_with(tmp_path):
    """A run that finishes all the same ends with 0."""
    finishing = tmp_path / "python"
    finishing.write_text(f"#!/bin/bash\ntrap '' INT\necho begun >> {tmp_path}/log\nsleep 2\n")
    finishing.chmod(0o755)
    environment = os.environ | {"PYTHON": str(finishing), "LOSSES": "softmax", "SEEDS": "1 2 3"}
    command = ["bash", "utils/run_all.sh", "digits", "smallcnn"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, preexec_fn=ignore_nothing
    ) as process:
        until(process, lambda: (tmp_path / "log").exists())
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.returncode == interruption.STATUS
    assert (tmp_path / "log").read_text() == "begun\n"


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_a_script_alone_stops_its_run_too(tmp_path, signal_):
    """As `kill`, or `timeout --foreground`, sends it."""
    listening = tmp_path / "python"
    trapped = f"trap 'echo stopped >> {tmp_path}/log; kill $!; exit 75' TERM"
    listening.write_text(
        f"#!/bin/bash\n{trapped}\necho begun >> {tmp_path}/log\nsleep 60 &\nwait\n"
    )
    listening.chmod(0o755)
    environment = os.environ | {"PYTHON": str(listening), "LOSSES": "softmax", "SEEDS": "1 2 3"}
    command = ["bash", "utils/run_all.sh", "digits", "smallcnn"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, preexec_fn=ignore_nothing
    ) as process:
        until(process, lambda: (tmp_path / "log").exists())
        process.send_signal(signal_)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (interruption.STATUS, b"")  # the run has printed it
    assert (tmp_path / "log").read_text() == "begun\nstopped\n"


def test_a_signal_while_a_script_looks_for_packages_ends_it_in_one_line(tmp_path):
    looking = tmp_path / "python"
    looking.write_text(
        f"#!/bin/bash\n[ $1 = -c ] && exit\necho begun >> {tmp_path}/log\nexec sleep 60\n"
    )
    looking.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(
        ["bash", "analize.sh"], cwd=ROOT, env=environment, stderr=subprocess.PIPE
    ) as process:
        until(process, lambda: (tmp_path / "log").exists())
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (
        interruption.STATUS,
        b"interrupted: run the same command again to continue\n",
    )


def test_a_run_is_interrupted_even_if_its_message_cannot_be_printed(tmp_path):
    """As with `2>&1 | tee log`, where a Ctrl-C ends tee too."""
    command = [sys.executable, "main.py", *CPU, "--epochs", "100000"]
    command += ["--runs", str(tmp_path / "runs")]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        until(process, lambda: list(tmp_path.rglob(records.EPOCHS)))
        process.stdout.close()
        process.send_signal(signal.SIGINT)
    assert process.returncode == interruption.STATUS
    assert list(tmp_path.rglob(records.LAST))
