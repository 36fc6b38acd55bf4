"""A run that is interrupted, finished or damaged: what the next one makes of it."""

import json

import pytest
import torch

from dismax import archive
from experiment import records
from tests.common import QUICK, interrupted, record_of, without_times
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
def test_an_interrupted_run_goes_on_to_the_same_record(
    run_main, tmp_path, monkeypatch, loss, stop_after
):
    def weights():
        return checkpoint.load(
            tmp_path / "runs" / "digits" / "smallcnn" / loss / "1" / records.MODEL
        )["state_dict"]

    given = ("--loss", loss, *QUICK)
    run_main(*given)
    whole, whole_weights = without_times(record_of(tmp_path, loss)), weights()
    (tmp_path / "runs").rename(tmp_path / "earlier")
    assert "goes on" in interrupted(run_main, monkeypatch, stop_after, *given)
    status, out, _ = run_main(*given)
    assert status == 0
    assert f"resuming after epoch {stop_after}" in out
    assert without_times(record_of(tmp_path, loss)) == whole
    assert all(value.equal(whole_weights[name]) for name, value in weights().items())


@pytest.mark.parametrize("loss", ["dismax", "godin_dropout", "sngp"])
@pytest.mark.parametrize("place", ["after step 2 of epoch 2", "after epoch 2", "after epoch 3"])
def test_a_signal_within_an_epoch_or_its_evaluation_loses_nothing(
    run_main, tmp_path, monkeypatch, loss, place
):
    run_main("--loss", loss, *QUICK)
    whole = without_times(record_of(tmp_path, loss))
    (tmp_path / "runs").rename(tmp_path / "earlier")
    monkeypatch.setattr(interruption, "_asked", False)
    step, classify, write_lines, calls = (
        Trainer._step,
        run.classify,
        records.write_lines,
        {"steps": 0, "evaluations": 0},
    )

    def signalled_step(*given):
        calls["steps"] += 1
        if place.startswith("after step") and calls["steps"] == 5:  # an epoch has three
            interruption._asked = True  # as the handler does while signals are deferred
        return step(*given)

    def signalled_evaluation(*given):
        calls["evaluations"] += 1
        if place == "after epoch 2" and calls["evaluations"] == 2:
            interruption._asked = True
        return classify(*given)

    def signalled_log(path, lines):
        write_lines(path, lines)
        # The last: what is left is the evaluation on everything.
        if place == "after epoch 3" and len(lines) == 3:
            interruption._asked = True

    monkeypatch.setattr(Trainer, "_step", signalled_step)
    monkeypatch.setattr(run, "classify", signalled_evaluation)
    monkeypatch.setattr(records, "write_lines", signalled_log)
    assert run_main("--loss", loss, *QUICK)[0] == interruption.STATUS
    monkeypatch.undo()
    status, out, _ = run_main("--loss", loss, *QUICK)
    assert status == 0
    assert f"resuming {place} of 3" in out
    assert without_times(record_of(tmp_path, loss)) == whole
    log = (
        (tmp_path / "runs" / "digits" / "smallcnn" / loss / "1" / records.EPOCHS)
        .read_text()
        .splitlines()
    )
    assert [json.loads(line)["epoch"] for line in log] == [1, 2, 3]


def test_a_finished_run_is_skipped_and_a_folder_with_another_is_left_alone(run_main, tmp_path):
    run_main(*QUICK)
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.*")}
    status, out, _ = run_main(*QUICK)
    assert status == 0
    assert "is finished: skipped" in out
    status, _, err = run_main("--epochs", "4")
    assert status == 2
    assert "another run (epochs 3 there, 4 here)" in err
    assert "--runs" in err
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.*")} == before


def test_another_runs_checkpoint_is_refused(run_main, tmp_path, monkeypatch):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    folder = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"
    held = (folder / records.CONFIG).read_text()
    (folder / records.CONFIG).unlink()
    status, _, err = run_main(*QUICK)
    assert (status, "without their config.json" in err) == (2, True)
    (folder / records.CONFIG).write_text(held.replace('"batch_size": 64', '"batch_size": 32'))
    status, _, err = run_main(*QUICK, "--batch-size", "32")
    assert (status, "is of another run" in err) == (2, True)


@pytest.mark.parametrize(
    "content", ["nothing", "a list", "another dict", "a changed byte", "another device's"]
)
def test_a_checkpoint_that_is_none_is_named(run_main, tmp_path, monkeypatch, content):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    path = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.LAST
    if content == "a changed byte":
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 255
        path.write_bytes(body)
    elif content == "another device's":
        saved = checkpoint.load(path)
        # As the state of a CUDA generator.
        saved["trainer"]["processes"][0]["mixing"] = torch.zeros(16, dtype=torch.uint8)
        archive.save(path, saved)
    elif content == "nothing":
        path.write_bytes(b"")
    else:
        torch.save([] if content == "a list" else {"state_dict": {}}, path)
    status, _, err = run_main(*QUICK)
    assert status == 2
    what = {"another dict": "is of another run", "another device's": "does not fit"}.get(
        content, "is damaged or no checkpoint"
    )
    assert what in err
    assert str(path.parent) in err
    assert "delete" in err
    assert err.count("\n") == 1


def test_a_checkpoint_that_fails_after_a_signal_is_a_failure_and_no_interruption(
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


def test_a_checkpoint_whose_contents_do_not_fit_is_named(run_main, tmp_path, monkeypatch):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    path = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.LAST

    def shorter_momentum(saved):
        saved["trainer"]["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(3)

    def no_momentum(saved):
        saved["trainer"]["optimizer"]["state"] = {}

    for change in (
        shorter_momentum,
        no_momentum,
        lambda saved: saved.update(trainer=[]),
        lambda saved: saved.update(history={}),
    ):
        saved = checkpoint.load(path)
        whole = path.read_bytes()
        change(saved)
        torch.save(saved, path)
        status, _, err = run_main(*QUICK)
        assert status == 2
        assert f"{path.parent}: its checkpoint does not fit" in err
        assert err.count("\n") == 1
        path.write_bytes(whole)


@pytest.mark.parametrize("name", [records.CONFIG, records.METRICS, records.LAST])
def test_a_damaged_file_of_the_run_is_named_and_left(run_main, tmp_path, name):
    run_main(*QUICK)
    path = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / name
    if name == records.LAST:
        path.with_name(records.METRICS).unlink()
        path.write_bytes(b"PK cut short")
    else:
        path.write_text(path.read_text()[:50])
    before = path.read_bytes()
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert f"{path} is " in err
    assert "delete it" in err
    assert err.count("\n") == 1
    assert path.read_bytes() == before
