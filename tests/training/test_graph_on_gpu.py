"""Training steps as CUDA graphs on a GPU: the same bits as eager steps."""

import itertools
import subprocess
import sys
import time

import pytest
import torch

from experiment import records
from losses import LOSSES
from tests.common import EVERY_STEP, ROOT, record_of, run_folder, without_times
from tests.stepping import assert_same, interrupted_and_resumed, on_a_gpu, trained
from training.epoch_sums import NonFiniteLoss
from training.graph import GraphedStep
from utils import runtime

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

STEP_THAT_READS_A_VALUE = """
from tests.stepping import on_a_gpu
from training.graph import CaptureError
trainer = on_a_gpu("softmax")
loss_of = trainer.criterion.training_loss
one = lambda logits: logits.sum().item() * 0 + 1
trainer.criterion.training_loss = lambda logits, targets: loss_of(logits, targets) * one(logits)
try:
    trainer.run_epoch(lambda *_: None)
except CaptureError as error:
    print(error, flush=True)  # before the broken graph is freed
"""


@pytest.fixture(autouse=True)
def repeatable():
    runtime.make_repeatable()


@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_graph_computes_the_same_bits_as_eager_steps(loss_name, precision):
    expected = trained(on_a_gpu(loss_name, None, precision))
    graphed = on_a_gpu(loss_name, precision=precision)
    assert_same(expected, trained(graphed))
    assert graphed.whole_step.graph is not None


def test_dropout_differs_from_replay_to_replay():
    trainer = on_a_gpu("godin_dropout", learning_rate=0.0)
    trainer.batches.labels.zero_()
    # All images are the same.
    trainer.batches.windows = trainer.batches.windows[:1].expand(201, -1, -1, -1, -1, -1)
    trainer.batches.padding = 0
    trainer.batches.flip = False
    sums = [0.0]
    trainer.run_epoch(lambda *_: sums.append(trainer.sums.loss.item()))
    losses = {round(after - before, 6) for before, after in itertools.pairwise(sums[:7])}
    assert len(losses) == 6


def test_mosaics_differ_from_replay_to_replay():
    trainer = on_a_gpu("dismax")
    orders = []
    plan = trainer.batches.draw(trainer.drawing)
    plan.rows.copy_(plan.rows[:1].clone())  # all batches have the same images
    trainer.batches.draw = lambda generator: plan
    trainer.run_epoch(lambda *_: orders.append(tuple(trainer.criterion._targets.tolist())))
    assert len(set(orders[3:6])) == 3


def test_every_replay_uses_its_own_learning_rate():
    trainer = on_a_gpu("softmax")
    rates = []
    expected = []

    def note(*_):
        rates.append(trainer.optimizer.param_groups[0]["lr"].item())
        expected.append(trainer.last_rate)

    trainer.run_epoch(note)
    assert len(set(zip(rates, expected, strict=True))) == 7
    assert rates == pytest.approx(expected, rel=1e-6)


# Before the capture, after it, after the last batch of an epoch, in the second epoch.
@pytest.mark.parametrize("stop", [2, 5, 7, 11])
@pytest.mark.parametrize(
    ("first", "second"), [(None, GraphedStep), (GraphedStep, None), (GraphedStep, GraphedStep)]
)
def test_graphs_and_eager_steps_resume_from_each_others_checkpoints(tmp_path, stop, first, second):
    whole = trained(on_a_gpu("dismax"), epochs=3)
    resumed = interrupted_and_resumed(
        on_a_gpu("dismax", first), stop, on_a_gpu("dismax", second), tmp_path / "last.pt"
    )
    assert_same(resumed, whole)


def test_the_first_step_of_a_graph_with_a_nan_loss_is_named():
    trainer = on_a_gpu("softmax")

    def poison(*_):
        if trainer.sums.steps == 4:
            with torch.no_grad():
                trainer.model.classifier.weight.fill_(torch.nan)

    with pytest.raises(NonFiniteLoss, match="epoch 1 at step 5 "):
        trainer.run_epoch(poison)


def test_a_step_that_reads_a_value_cannot_be_captured():
    """In a new process: after a failed capture, PyTorch may be unable to compute."""
    process = subprocess.run(
        [sys.executable, "-c", STEP_THAT_READS_A_VALUE], cwd=ROOT, capture_output=True, text=True
    )
    assert "the training step cannot be a CUDA graph (" in process.stdout, process.stderr
    assert "take --cuda-graph off" in process.stdout
    assert "previous error" not in process.stdout  # the message names the step's own error


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_record(tmp_path):
    options = ["--device", "cuda", "--precision", "bf16", "--epochs", "20", *EVERY_STEP]
    for name, kills in (("whole", 0), ("killed", 3)):
        command = [sys.executable, "main.py", *options, "--runs", str(tmp_path / name / "runs")]
        last = run_folder(tmp_path / name) / records.LAST
        for _ in range(kills):
            process = subprocess.Popen(command, cwd=ROOT)
            before = last.stat().st_mtime_ns if last.exists() else 0
            while process.poll() is None:
                if last.exists() and last.stat().st_mtime_ns > before:
                    break
                time.sleep(0.01)
            time.sleep(0.3)
            process.kill()
            process.wait()
        assert subprocess.run(command, cwd=ROOT).returncode == 0
    whole = without_times(record_of(tmp_path / "whole"))
    assert without_times(record_of(tmp_path / "killed")) == whole
