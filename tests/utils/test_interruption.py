"""Signals at any moment, in programs and scripts, and output that nobody reads."""

import os
import signal
import subprocess
import sys
import time

import pytest

from experiment import lock, records
from tests.common import QUICK, ROOT, record_of, until
from utils import distributed, interruption, output

CPU = ("--precision", "fp32", "--device", "cpu")


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
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
    assert "; the same command goes on\n" in err
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.rglob("*.*")} == {
        records.CONFIG,
        records.EPOCHS,
        records.LAST,
        lock.LOCK,
        lock.HOLDER,
    }


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
    assert {path.name for path in tmp_path.rglob("*.*")} == {
        records.CONFIG,
        records.EPOCHS,
        records.LAST,
        lock.LOCK,
        lock.HOLDER,
    }


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
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.returncode == interruption.STATUS
    begun = (
        "what has arrived is kept; the same command goes on"
        if "prepare" in program
        else "nothing was begun"
    )
    assert said == ["\n", f"interrupted: {begun}\n"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_benchmark_in_one_line(signal_):
    program = (
        "import os; from benchmarks import common; common.end_well(lambda: os.kill(os.getpid(), "
        f"{int(signal_)}))"
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
def test_what_an_interruption_leaves_half_made_says_nothing(script, interrupted):
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


def test_ctrl_c_ends_a_script_whatever_the_run_under_way_makes_of_it(tmp_path):
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
def test_a_signal_to_a_script_alone_stops_the_run_under_way_too(tmp_path, signal_):
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
    assert (process.returncode, err) == (interruption.STATUS, b"")  # the run has said it
    assert (tmp_path / "log").read_text() == "begun\nstopped\n"


def test_a_signal_while_a_script_looks_for_its_packages_is_said(tmp_path):
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
        b"interrupted: the same command goes on\n",
    )


@pytest.mark.parametrize("streams", [">&- 2>&-", "2>&1 | true", "> /dev/full 2>&1"])
def test_output_that_nobody_reads_ends_no_run(tmp_path, streams):
    command = (
        f"{sys.executable} main.py {' '.join((*CPU, *QUICK))} --runs {tmp_path}/runs {streams}; "
        f"exit ${{PIPESTATUS[0]}}"
    )
    assert subprocess.run(["bash", "-c", command], cwd=ROOT).returncode == 0
    assert record_of(tmp_path)["best"]["epoch"]


def test_what_is_said_to_a_closed_standard_error_does_not_come_among_the_results(script):
    done = script(
        "-c",
        "import sys; from utils.output import print_line; sys.stderr = None; "
        "print_line('warning', sys.stderr); print_line('result')",
    )
    assert done.stdout == "result\n"


def test_an_interruption_is_one_even_if_its_line_cannot_be_printed(tmp_path):
    """As with `2>&1 | tee log`, where a Ctrl-C ends tee too."""
    command = [
        sys.executable,
        "main.py",
        *CPU,
        "--epochs",
        "100000",
        "--runs",
        str(tmp_path / "runs"),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        until(process, lambda: list(tmp_path.rglob(records.EPOCHS)))
        process.stdout.close()
        process.send_signal(signal.SIGINT)
    assert process.returncode == interruption.STATUS
    assert list(tmp_path.rglob(records.LAST))


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, (0, 1)), ({"RANK": "1"}, (0, 1)), ({"WORLD_SIZE": "3", "RANK": "2"}, (2, 3))],
)
def test_who_is_who_is_torchruns_to_say(monkeypatch, given, expected):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert (output.rank(), distributed.size()) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"WORLD_SIZE": "abc"},
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "RANK": "x"},
        {"WORLD_SIZE": "0"},
    ],
)
def test_an_environment_that_is_not_torchruns_is_named(run_main, monkeypatch, given):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert (
        f"WORLD_SIZE={given['WORLD_SIZE']} and RANK={given.get('RANK', '')} name no process: use "
        "torchrun" in err
    )


@pytest.mark.parametrize("count", ["x", "", "0", "-1", "2.0"])
def test_a_number_of_processes_here_that_is_none_is_named(run_main, monkeypatch, count):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", count)
    status, _, err = run_main(*QUICK)
    assert (status, err) == (
        2,
        f"error: the environment's LOCAL_WORLD_SIZE={count} is no number of processes: use "
        "torchrun, or unset it\n",
    )
