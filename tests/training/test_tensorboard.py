"""--tensorboard: the curves of a run, read back as TensorBoard reads them."""

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
    """Tag → (step, value) in order."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def log_of(folder):
    return [json.loads(line) for line in (folder / records.EPOCHS).read_text().splitlines()]


def test_the_curves_are_the_log_and_the_reads(run_main, run, monkeypatch):
    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    assert (
        run_main(
            *QUICK,
            "--tensorboard",
            "--recipe",
            "openood",
            "--model",
            "smallcnn",
            "--batch-size",
            "60",
        )[0]
        == 0
    )
    found, log = curves_of(run), log_of(run)
    for tag, name in EPOCH.items():
        assert found[tag] == [(3 * entry["epoch"], pytest.approx(entry[name])) for entry in log]
    reads = [2, 5, 8]  # each epoch's second step
    assert [step for step, _ in found["loss/epoch so far"]] == reads
    # The step that ends with so many done began with one less.
    rates = [
        (step, pytest.approx(RECIPES["openood"].rate((step - 1) / 3, 3)))
        for step in sorted([*reads, 3, 6, 9])
    ]
    assert found["learning_rate"] == rates


@pytest.mark.parametrize(
    "stopped",
    ["in an epoch", "at an epoch's last step", "after an epoch", "killed before a checkpoint"],
)
def test_a_resumed_run_goes_on_in_the_same_curves(run_main, run, monkeypatch, stopped):
    monkeypatch.setattr(trainer, "READ_EVERY", 1)
    given = (*QUICK, "--tensorboard")
    run_main(*given)
    whole = curves_of(run)
    run.rename(run.with_name("whole"))
    step, last = (
        Trainer._step,
        {"in an epoch": 5, "at an epoch's last step": 6, "killed before a checkpoint": 5}.get(
            stopped
        ),
    )
    monkeypatch.setattr(interruption, "_asked", False)

    def stopping(trainer, *rest):
        labelled = step(trainer, *rest)
        if 3 * trainer.epoch + trainer.sums.steps + 1 == last:
            if stopped.startswith("killed"):
                raise MemoryError  # no checkpoint is written
            interruption._asked = True
        return labelled

    if last:
        monkeypatch.setattr(Trainer, "_step", stopping)
        assert run_main(*given)[0] == (1 if stopped.startswith("killed") else interruption.STATUS)
        monkeypatch.setattr(Trainer, "_step", step)
        monkeypatch.setattr(interruption, "_asked", False)
    else:
        with pytest.MonkeyPatch.context() as interrupting:
            interrupted(run_main, interrupting, 2, *given)
    assert run_main(*given)[0] == 0
    assert curves_of(run) == whole


def test_points_that_the_last_checkpoint_does_not_know_of_are_not_there_twice(
    run_main, run, monkeypatch
):
    """A failure after an epoch's points were written, where the checkpoint is that of its last
    step.
    """
    given = (*QUICK, "--tensorboard", "--checkpoint-every", "0.000001", "minutes")
    run_main(*given)
    whole = curves_of(run)
    run.rename(run.with_name("whole"))
    write_lines = records.write_lines

    def full(path, lines):
        if len(lines) == 2:
            raise OSError(28, "No space left on device", str(path))
        write_lines(path, lines)

    monkeypatch.setattr(records, "write_lines", full)
    assert run_main(*given)[0] == 1
    monkeypatch.setattr(records, "write_lines", write_lines)
    assert len(curves_of(run)["loss/train"]) == 2
    status, out, _ = run_main(*given)
    assert (status, "after step 3 of epoch 2" in out) == (0, True)
    assert curves_of(run) == whole


def test_the_option_is_no_part_of_a_runs_identity(run_main, run):
    assert run_main(*QUICK)[0] == 0
    assert not list(run.glob("*tfevents*"))
    status, out, _ = run_main(*QUICK, "--tensorboard")
    assert (status, "is finished: skipped" in out) == (0, True)


def test_without_the_package_one_line_says_so(run_main, tmp_path, monkeypatch):
    for name in [
        name
        for name in sys.modules
        if name.split(".")[0] == "tensorboard" or name.startswith("torch.utils.tensorboard")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    status, _, err = run_main(*QUICK, "--tensorboard")
    assert (status, err.count("\n")) == (2, 1)
    assert "--tensorboard needs TensorBoard" in err
    assert "pip install tensorboard" in err
    assert not (tmp_path / "runs").exists()
