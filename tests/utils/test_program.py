"""The exit status of a program and the line that it prints."""

import errno

import pytest

from utils import interruption
from utils.program import Failure, exit_status

INTERRUPTED = "nothing was lost"


def status_after(error, capsys):
    """The exit status of work that raises an error, and the standard error."""

    def work():
        raise error

    status = exit_status(work, INTERRUPTED)
    out, err = capsys.readouterr()
    assert out == ""
    return status, err


def test_work_that_returns_nothing_ends_with_0(capsys):
    assert exit_status(lambda: None, INTERRUPTED) == 0
    assert capsys.readouterr().err == ""


def test_work_may_return_a_status():
    assert exit_status(lambda: 7, INTERRUPTED) == 7


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("--epochs is 0"), "--epochs is 0"),
        (OSError(errno.ENOENT, "No such file", "a"), "[Errno 2] No such file: 'a'"),
    ],
)
def test_bad_input_ends_with_2(capsys, error, message):
    status, err = status_after(error, capsys)
    assert status == 2
    assert err == f"error: {message}\n"


def test_a_failure_ends_with_1(capsys):
    status, err = status_after(Failure("the loss became NaN"), capsys)
    assert status == 1
    assert err == "error: the loss became NaN\n"


def test_a_message_of_several_lines_is_printed_in_one(capsys):
    _, err = status_after(ValueError("one\n  two\nthree"), capsys)
    assert err == "error: one two three\n"


def test_an_error_chooses_its_status_by_an_attribute(capsys):
    class Locked(OSError):
        exit_status = 3

    status, err = status_after(Locked("another process makes this run"), capsys)
    assert status == 3
    assert err == "error: another process makes this run\n"


def test_notes_end_the_line_and_mean_that_work_had_begun(capsys):
    error = OSError("No space left")
    error.add_note("the checkpoint after epoch 1 is kept")
    error.add_note("run the same command again")
    status, err = status_after(error, capsys)
    assert status == 1  # without notes: 2
    assert err == (
        "error: No space left; the checkpoint after epoch 1 is kept; run the same command again\n"
    )


def test_an_interruption_ends_with_75(capsys):
    status, err = status_after(KeyboardInterrupt(), capsys)
    assert status == 75
    assert err == f"\ninterrupted: {INTERRUPTED}\n"  # the terminal has printed ^C before


def test_the_notes_of_an_interruption_replace_the_default_text(capsys):
    error = KeyboardInterrupt()
    error.add_note("the checkpoint is kept")
    status, err = status_after(error, capsys)
    assert status == interruption.STATUS
    assert "the checkpoint is kept" in err
    assert INTERRUPTED not in err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_out_of_memory_ends_with_1_and_the_line_names_the_way_out(capsys, error):
    status, err = status_after(error, capsys)
    assert status == 1
    assert err.startswith("error: out of memory (")
    assert "take a smaller batch, network or data set" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("message", "explanation"),
    [
        ("DataLoader worker (pid 7) is killed", "a process that decodes images was killed"),
        ("Connection closed by peer", "another process of this run has ended"),
    ],
)
def test_the_end_of_another_process_ends_with_1(capsys, message, explanation):
    status, err = status_after(RuntimeError(message), capsys)
    assert status == 1
    assert explanation in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), TypeError("not callable")])
def test_a_fault_of_the_code_is_raised(error):
    def work():
        raise error

    with pytest.raises(type(error), match=str(error)):
        exit_status(work, INTERRUPTED)


def test_a_path_with_the_words_out_of_memory_is_bad_input(capsys):
    def work():
        raise ValueError("/runs/out of memory/model.pt is no file")

    assert exit_status(work, "") == 2
    assert capsys.readouterr().err == "error: /runs/out of memory/model.pt is no file\n"
