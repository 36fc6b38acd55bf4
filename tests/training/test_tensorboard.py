"""--tensorboard: the curves of a run, read with TensorBoard's own reader."""

import json
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiment import records
from experiment.recipes import RECIPES
from tests.common import QUICK, interrupted
from training import trainer
from training.trainer import Trainer
from utils import interruption

EPOCH = {
    "loss/train": "loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "epoch": "epoch",
}


@pytest.fixture
def run(tmp_path):
    """The folder of a run of the digits: three epochs of three steps."""
    return tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1"


def curves_of(folder):
    """Tag → list of (step, value), in order."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def epochs_of(folder):
    """The lines of epochs.jsonl."""
    return [json.loads(line) for line in (folder / records.EPOCHS).read_text().splitlines()]


def test_the_curves_have_the_numbers_of_every_epoch_and_read(run_main, run, monkeypatch):
    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    options = ("--tensorboard", "--recipe", "openood", "--model", "smallcnn", "--batch-size", "60")
    assert run_main(*QUICK, *options)[0] == 0
    curves = curves_of(run)
    epochs = epochs_of(run)
    for tag, name in EPOCH.items():
        assert curves[tag] == [(3 * epoch["epoch"], pytest.approx(epoch[name])) for epoch in epochs]
    reads = [2, 5, 8]  # the second step of each epoch
    assert [step for step, _ in curves["loss/epoch so far"]] == reads
    # The learning rate of step n follows from the n - 1 steps before it.
    rates = [
        (step, pytest.approx(RECIPES["openood"].rate((step - 1) / 3, 3)))
        for step in sorted([*reads, 3, 6, 9])
    ]
    assert curves["learning_rate"] == rates


@pytest.mark.parametrize(
    "stopped",
    ["in an epoch", "at an epoch's last step", "after an epoch", "killed before a checkpoint"],
)
def test_a_resumed_run_continues_the_same_curves(run_main, run, monkeypatch, stopped):
    monkeypatch.setattr(trainer, "READ_EVERY", 1)
    options = (*QUICK, "--tensorboard")
    run_main(*options)
    whole = curves_of(run)
    run.rename(run.with_name("whole"))
    step = Trainer._step
    last_steps = {"in an epoch": 5, "at an epoch's last step": 6, "killed before a checkpoint": 5}
    last = last_steps.get(stopped)
    monkeypatch.setattr(interruption, "_asked", False)

    def stopping(trainer, *rest):
        result = step(trainer, *rest)
        if 3 * trainer.epoch + trainer.sums.steps + 1 == last:
            if stopped.startswith("killed"):
                raise MemoryError  # no checkpoint is written
            interruption._asked = True
        return result

    if last:
        monkeypatch.setattr(Trainer, "_step", stopping)
        assert run_main(*options)[0] == (1 if stopped.startswith("killed") else interruption.STATUS)
        monkeypatch.setattr(Trainer, "_step", step)
        monkeypatch.setattr(interruption, "_asked", False)
    else:
        with pytest.MonkeyPatch.context() as interrupting:
            interrupted(run_main, interrupting, 2, *options)
    assert run_main(*options)[0] == 0
    assert curves_of(run) == whole


def test_points_after_the_last_checkpoint_are_not_drawn_twice(run_main, run, monkeypatch):
    """The run fails after the points of an epoch were written. The last checkpoint is that of the
    epoch's last step.
    """
    options = (*QUICK, "--tensorboard", "--checkpoint-every", "0.000001", "minutes")
    run_main(*options)
    whole = curves_of(run)
    run.rename(run.with_name("whole"))
    write_lines = records.write_lines

    def full(path, lines):
        if len(lines) == 2:
            raise OSError(28, "No space left on device", str(path))
        write_lines(path, lines)

    monkeypatch.setattr(records, "write_lines", full)
    assert run_main(*options)[0] == 1
    monkeypatch.setattr(records, "write_lines", write_lines)
    assert len(curves_of(run)["loss/train"]) == 2
    status, out, _ = run_main(*options)
    assert status == 0
    assert "after step 3 of epoch 2" in out
    assert curves_of(run) == whole


def test_the_option_is_not_part_of_a_runs_identity(run_main, run):
    assert run_main(*QUICK)[0] == 0
    assert not list(run.glob("*tfevents*"))
    status, out, _ = run_main(*QUICK, "--tensorboard")
    assert status == 0
    assert "is finished: skipped" in out


def test_without_the_package_the_option_is_an_error(run_main, tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] == "tensorboard" or name.startswith("torch.utils.tensorboard"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    status, _, err = run_main(*QUICK, "--tensorboard")
    assert status == 2
    assert err.count("\n") == 1
    assert "--tensorboard needs TensorBoard" in err
    assert "pip install tensorboard" in err
    assert not (tmp_path / "runs").exists()
