"""A run that was interrupted resumes from its checkpoint, or refuses it."""

import itertools
import json

import pytest
import torch

from dismax import archive
from experiment import records
from tests.common import QUICK, interrupted, record_of, run_folder, without_times
from training import checkpoint, run
from training.trainer import Trainer
from utils import interruption


@pytest.mark.parametrize(
    ("loss", "stop_after"),
    [
        ("dismax", 1),
        ("dismax", 2),
        ("scaledcosine", 1),
        ("godin_dropout", 1),
        ("duq", 1),
        ("sngp", 2),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_record_and_weights(
    run_main, tmp_path, monkeypatch, loss, stop_after
):
    def weights():
        return checkpoint.load(run_folder(tmp_path, loss) / records.MODEL)["state_dict"]

    options = ("--loss", loss, *QUICK)
    run_main(*options)
    whole = without_times(record_of(tmp_path, loss))
    whole_weights = weights()
    (tmp_path / "runs").rename(tmp_path / "earlier")
    assert "to continue" in interrupted(run_main, monkeypatch, stop_after, *options)
    status, out, _ = run_main(*options)
    assert status == 0
    assert f"resuming after epoch {stop_after}" in out
    assert without_times(record_of(tmp_path, loss)) == whole
    assert all(value.equal(whole_weights[name]) for name, value in weights().items())


def signal_at(monkeypatch, place):
    """Let a signal come at a place of the next run. An epoch has three steps."""
    step = Trainer._step
    classify = run.classify
    write_lines = records.write_lines
    steps = itertools.count(1)
    evaluations = itertools.count(1)

    def ask_to_stop():
        interruption._asked = True  # as the signal handler does while signals are deferred

    def step_with_signal(*arguments):
        if next(steps) == 5 and place == "after step 2 of epoch 2":
            ask_to_stop()
        return step(*arguments)

    def classify_with_signal(*arguments):
        if next(evaluations) == 2 and place == "after epoch 2":
            ask_to_stop()
        return classify(*arguments)

    def write_lines_with_signal(path, lines):
        write_lines(path, lines)
        # After the last epoch, only the evaluation on all sets is left.
        if len(lines) == 3 and place == "after epoch 3":
            ask_to_stop()

    monkeypatch.setattr(interruption, "_asked", False)
    monkeypatch.setattr(Trainer, "_step", step_with_signal)
    monkeypatch.setattr(run, "classify", classify_with_signal)
    monkeypatch.setattr(records, "write_lines", write_lines_with_signal)


@pytest.mark.parametrize("loss", ["dismax", "godin_dropout", "sngp"])
@pytest.mark.parametrize("place", ["after step 2 of epoch 2", "after epoch 2", "after epoch 3"])
def test_a_signal_within_an_epoch_or_its_evaluation_loses_nothing(
    run_main, tmp_path, monkeypatch, loss, place
):
    options = ("--loss", loss, *QUICK)
    run_main(*options)
    whole = without_times(record_of(tmp_path, loss))
    (tmp_path / "runs").rename(tmp_path / "earlier")
    signal_at(monkeypatch, place)
    assert run_main(*options)[0] == interruption.STATUS
    monkeypatch.undo()
    status, out, _ = run_main(*options)
    assert status == 0
    assert f"resuming {place} of 3" in out
    assert without_times(record_of(tmp_path, loss)) == whole
    lines = (run_folder(tmp_path, loss) / records.EPOCHS).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_a_checkpoint_of_another_run_is_refused(run_main, tmp_path, monkeypatch):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    config = run_folder(tmp_path) / records.CONFIG
    config.write_text(config.read_text().replace('"batch_size": 64', '"batch_size": 32'))
    status, _, err = run_main(*QUICK, "--batch-size", "32")
    assert status == 2
    assert "is of another run" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "is damaged or no checkpoint"),
        ("a list", "is damaged or no checkpoint"),
        ("another dict", "is of another run"),
        ("a changed byte", "is damaged or no checkpoint"),
        ("another device's", "does not fit"),
    ],
)
def test_a_checkpoint_with_bad_content_is_an_error(
    run_main, tmp_path, monkeypatch, content, message
):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    path = run_folder(tmp_path) / records.LAST
    if content == "a changed byte":
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 255
        path.write_bytes(body)
    elif content == "another device's":
        saved = checkpoint.load(path)
        # The state of a CUDA generator has this size.
        saved["trainer"]["processes"][0]["mixing"] = torch.zeros(16, dtype=torch.uint8)
        archive.save(path, saved)
    elif content == "nothing":
        path.write_bytes(b"")
    else:
        torch.save([] if content == "a list" else {"state_dict": {}}, path)
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert message in err
    assert str(path.parent) in err
    assert "delete" in err
    assert err.count("\n") == 1


def test_a_checkpoint_that_cannot_be_written_after_a_signal_is_a_failure(
    run_main, tmp_path, monkeypatch
):
    monkeypatch.setattr(interruption, "_asked", True)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "save", full)
    status, _, err = run_main(*QUICK)
    assert status == 1
    assert "No space left on device; no checkpoint was written yet" in err
    assert err.count("\n") == 1


def shorten_momentum(saved):
    saved["trainer"]["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(3)


def remove_momentum(saved):
    saved["trainer"]["optimizer"]["state"] = {}


def remove_trainer(saved):
    saved["trainer"] = []


def remove_history(saved):
    saved["history"] = {}


@pytest.mark.parametrize(
    "change", [shorten_momentum, remove_momentum, remove_trainer, remove_history]
)
def test_a_checkpoint_with_values_of_the_wrong_shape_is_an_error(
    run_main, tmp_path, monkeypatch, change
):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    path = run_folder(tmp_path) / records.LAST
    saved = checkpoint.load(path)
    change(saved)
    torch.save(saved, path)
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert f"{path.parent}: its checkpoint does not fit" in err
    assert err.count("\n") == 1
