"""A training step as one graph: traced on a CPU, captured on a GPU, it gives the bits that its
operations give one by one.
"""

import itertools
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import main as program
from data.images import Images
from data.sources import entry_of
from data.streaming import ImageFiles
from dismax import archive
from experiment import records
from experiment.config import RunConfig
from experiment.data import Data
from experiment.evaluation import classify
from losses import LOSSES
from tests.common import ROOT, record_of, without_times
from tests.stepping import (
    CPU,
    CUDA,
    TracedStep,
    assert_same,
    gone_on,
    on_a_gpu,
    state_of,
    trained,
    trainer_of,
)
from training import build, checkpoint
from training.epoch_sums import NonFiniteLoss
from training.graph import GraphedStep
from utils import runtime
from utils.distributed import ALONE, World


@pytest.mark.parametrize("loss_name", LOSSES)
def test_the_operations_of_the_first_step_are_those_of_all(loss_name):
    # DUQ's first gradients overflow in fp16.
    precision = {"dismax": "bf16", "duq": "fp16"}.get(loss_name, "fp32")
    eager = trained(trainer_of(loss_name, precision=precision))
    assert_same(eager, trained(trainer_of(loss_name, precision=precision, capture=TracedStep)))


@pytest.mark.parametrize("what", ["a number", "a branch"])
def test_a_step_that_uses_a_changing_python_value_would_be_noticed(what, monkeypatch):
    def built(capture):
        trainer, steps = trainer_of("softmax", capture=capture), iter(range(1, 100))
        loss_of = trainer.criterion.training_loss

        def changing(logits, targets):
            step, loss = next(steps), loss_of(logits, targets)
            if what == "a number":
                return loss * step
            return loss if step == 1 else -loss

        trainer.criterion.training_loss = changing
        return trained(trainer, epochs=1)

    eager, traced = built(None), built(TracedStep)
    assert not eager["parameter classifier.weight"].equal(traced["parameter classifier.weight"])


@pytest.mark.parametrize("loss_name", ["dismax", "sngp"])
def test_a_compiled_network_is_ready_when_its_step_is_captured(loss_name):
    """Nothing is compiled after the first step but for the tail, and nothing of the network is left
    out.
    """
    torch._dynamo.reset()
    counters.clear()
    trainer, compiled = trainer_of(loss_name, count=201), []
    trainer.model.compile(backend="aot_eager")  # which compiles when the usual backend does
    for _ in range(2):
        trainer.run_epoch(lambda *_: compiled.append(counters["stats"]["unique_graphs"]))
        classify(trainer.model, [torch.zeros(7, 3, 8, 8)], trainer.context)  # as after every epoch
    assert compiled == [1] * 6 + [2] * 8
    assert not counters["graph_break"]


def test_a_compiled_network_does_not_depend_on_which_batch_came_first(monkeypatch, tmp_path):
    """As after a resume: an epoch's last batch, then whole ones.

    Each size is compiled for itself.
    """
    for_any_size = []

    def backend(graph, inputs):
        for_any_size.append(any(isinstance(value, torch.SymInt) for value in inputs))
        return graph

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    config = program.parse(
        ["--compile", "--loss", "softmax", "--precision", "fp32", "--runs", str(tmp_path)]
    )
    trainer = build.build(config, CPU).trainer
    for size in (5, 7, 9):
        trainer.model(torch.zeros(size, 3, 8, 8))
    assert for_any_size == [False] * 3


@pytest.mark.parametrize("stop", [2, 4])  # within an epoch
def test_eager_and_traced_runs_go_on_from_each_others_checkpoints(tmp_path, stop):
    whole = trainer_of("dismax")
    for _ in range(3):
        whole.run_epoch(lambda *_: None)
    for first, second in ((None, TracedStep), (TracedStep, None), (TracedStep, TracedStep)):
        trainers = trainer_of("dismax", capture=first), trainer_of("dismax", capture=second)
        assert_same(state_of(whole), gone_on(trainers[0], stop, trainers[1], tmp_path / "last.pt"))


def test_a_step_is_captured_anew_after_a_checkpoint_was_loaded(tmp_path):
    """The optimizer has other tensors then: those of the checkpoint."""
    trainer = trainer_of("softmax", capture=TracedStep)
    trained(trainer, epochs=1)
    archive.save(tmp_path / "last.pt", trainer.state_dict())
    whole = trained(trainer)
    trainer.load_state_dict(checkpoint.load(tmp_path / "last.pt"))
    assert_same(whole, trained(trainer))


def test_the_first_bad_step_is_named_by_a_traced_run_too():
    said = []
    for capture in (None, TracedStep):
        trainer = trainer_of("softmax", capture=capture, learning_rate=1e30)
        with pytest.raises(NonFiniteLoss, match=r"epoch 1 at step [23] ") as caught:
            trainer.run_epoch(lambda *_: None)
        said.append(str(caught.value))
    assert said[0] == said[1]


def data_of(files):
    """A run's data: ten small images, in files or in memory."""
    images = Images(
        torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.arange(10), tuple("0123456789")
    )
    if files:
        images = ImageFiles(np.zeros(10, "S1"), images.labels, images.classes, (8, 8))
    return Data(images, {}, {}, (0.5,) * 3, (0.2,) * 3, entry_of("cifar10"))


@pytest.mark.parametrize(
    ("changes", "device", "processes", "files", "capturable", "said"),
    [
        ({}, CUDA, 1, False, True, ""),
        ({}, CPU, 1, False, True, "cpu has none"),
        ({"cuda_graph": "off"}, CUDA, 1, False, True, "--cuda-graph is off"),
        ({}, CUDA, 2, False, True, "several processes train"),
        ({}, CUDA, 1, True, True, "the images are read from files"),
        ({}, CUDA, 1, False, False, "SoftMaxLossSecondPart cannot be captured"),
    ],
)
def test_what_cannot_be_a_graph_is_said(changes, device, processes, files, capturable, said):
    criterion = trainer_of("softmax").criterion
    criterion.capturable = capturable
    assert (
        build.why_no_graph(
            RunConfig(**changes), data_of(files), criterion, device, World(0, processes)
        )
        == said
    )


@pytest.mark.parametrize("files", [False, True])
def test_a_trial_has_a_graph_where_its_run_has_one(monkeypatch, files):
    """A trial's images are in memory, so they do not say it."""
    monkeypatch.setattr(
        build,
        "make_trainer",
        lambda config, data, device, world, images, batch: (config, data, images),
    )
    config, data, images = build.trial(RunConfig(batch_size=4), data_of(files), CUDA, ALONE, "fp32")
    assert isinstance(images, Images)
    criterion = trainer_of("softmax").criterion
    assert bool(build.why_no_graph(config, data, criterion, CUDA, ALONE)) == files


ASKING = """
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


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
class TestOnAGPU:
    @pytest.fixture(autouse=True)
    def repeatable(self):
        runtime.make_repeatable()

    @pytest.mark.parametrize("loss_name", LOSSES)
    @pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
    def test_a_graph_gives_the_bits_of_its_operations(self, loss_name, precision):
        expected = trained(on_a_gpu(loss_name, None, precision))
        graphed = on_a_gpu(loss_name, precision=precision)
        assert_same(expected, trained(graphed))
        assert graphed.whole_step.graph is not None

    def test_dropout_and_mosaics_differ_from_replay_to_replay(self):
        trainer = on_a_gpu("godin_dropout", learning_rate=0.0)
        trainer.batches.labels.zero_()
        # All images are the same.
        trainer.batches.windows = trainer.batches.windows[:1].expand(201, -1, -1, -1, -1, -1)
        trainer.batches.padding, trainer.batches.flip, sums = 0, False, []
        trainer.run_epoch(lambda *_: sums.append(trainer.sums.loss.item()))
        assert (
            len(
                {round(after - before, 6) for before, after in itertools.pairwise([0.0, *sums[:6]])}
            )
            == 6
        )
        trainer, orders = on_a_gpu("dismax"), []
        plan = trainer.batches.draw(trainer.drawing)
        plan.rows.copy_(plan.rows[:1].clone())  # all batches are the same, but for their order
        trainer.batches.draw = lambda generator: plan
        trainer.run_epoch(lambda *_: orders.append(trainer.criterion._targets.tolist()))
        assert len({*map(tuple, orders[3:6])}) == 3

    def test_the_learning_rate_moves(self):
        trainer, rates = on_a_gpu("softmax"), []
        trainer.run_epoch(
            lambda *_: rates.append(
                (trainer.optimizer.param_groups[0]["lr"].item(), trainer.last_rate)
            )
        )
        assert len({*rates}) == 7
        assert [rate for rate, _ in rates] == pytest.approx([rate for _, rate in rates], rel=1e-6)

    # Before the capture, after it, after the tail, in the second epoch.
    @pytest.mark.parametrize("stop", [2, 5, 7, 11])
    @pytest.mark.parametrize(
        ("first", "second"), [(None, GraphedStep), (GraphedStep, None), (GraphedStep, GraphedStep)]
    )
    def test_graphs_and_operations_go_on_from_each_others_checkpoints(
        self, tmp_path, stop, first, second
    ):
        whole = trained(on_a_gpu("dismax"), epochs=3)
        assert_same(
            gone_on(
                on_a_gpu("dismax", first), stop, on_a_gpu("dismax", second), tmp_path / "last.pt"
            ),
            whole,
        )

    def test_the_first_bad_step_of_a_graph_is_named(self):
        trainer = on_a_gpu("softmax")

        def poison(*_):
            if trainer.sums.steps == 4:
                with torch.no_grad():
                    trainer.model.classifier.weight.fill_(torch.nan)

        with pytest.raises(NonFiniteLoss, match="epoch 1 at step 5 "):
            trainer.run_epoch(poison)

    def test_a_step_that_asks_for_a_value_cannot_be_captured(self):
        """In a process of its own: after a capture that failed, PyTorch may not compute on."""
        done = subprocess.run(
            [sys.executable, "-c", ASKING], cwd=ROOT, capture_output=True, text=True
        )
        assert "the training step cannot be a CUDA graph (" in done.stdout, done.stderr
        assert "take --cuda-graph off" in done.stdout
        assert "previous error" not in done.stdout  # the reason is that of the step

    @pytest.mark.slow
    def test_a_killed_run_goes_on_to_the_same_record(self, tmp_path):
        given = [
            "--device",
            "cuda",
            "--precision",
            "bf16",
            "--epochs",
            "20",
            "--checkpoint-every",
            "0.000001",
            "minutes",
        ]
        for place, kills in (("whole", 0), ("killed", 3)):
            command = [sys.executable, "main.py", *given, "--runs", str(tmp_path / place / "runs")]
            for _ in range(kills):
                process = subprocess.Popen(command, cwd=ROOT)
                last = (
                    tmp_path
                    / place
                    / "runs"
                    / "digits"
                    / "smallcnn"
                    / "dismax"
                    / "1"
                    / records.LAST
                )
                before = last.stat().st_mtime_ns if last.exists() else 0
                while process.poll() is None and not (
                    last.exists() and last.stat().st_mtime_ns > before
                ):
                    time.sleep(0.01)
                time.sleep(0.3)
                process.kill()
                process.wait()
            assert subprocess.run(command, cwd=ROOT).returncode == 0
        first, second = (
            without_times(record_of(tmp_path / place)) for place in ("whole", "killed")
        )
        assert first == second
