"""A training step as one graph: traced on a CPU, captured on a GPU, it gives the bits that its operations give one by one."""

import contextlib
import dataclasses
import itertools
import subprocess
import sys
import time

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from losses import LOSSES
from models import build_model
from utils import checkpoint, records, runtime
from utils.graph import GraphedStep, why_not
from utils.recipes import RECIPES
from utils.running import NonFiniteLoss
from utils.training import Trainer

from .conftest import ROOT, record_of, without_times

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class TracedStep:
    """A step whose Python code runs once: at the first step, whose operations are recorded. Later steps repeat these.

    This is what a CUDA graph does, but that a capture computes nothing.
    """

    def __init__(self, step, generator):
        self.step, self.operations, self.result = step, None, None

    def __call__(self):
        if self.operations is None:

            def recorded():
                self.result = self.step()
                return torch.zeros(())

            self.operations = make_fx(recorded)()
        else:
            with torch.no_grad():  # the backward pass is among the operations
                self.operations()
        return self.result


def trainer_of(loss_name, device=CPU, capture=None, precision="fp32", recipe="openood", count=73, **changes):
    """A trainer of a small network, with batches of 32 and a tail. The recipe's cosine changes the learning rate at every step."""
    torch.manual_seed(0)
    row = LOSSES[loss_name]
    model = row.wrap(build_model("smallcnn", 10, row.head)).to(device, memory_format=torch.channels_last)
    pixels = torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = Images(pixels, torch.arange(count) % 10, ())
    batches = TrainingBatches(images, Normalizer((0.5,) * 3, (0.2,) * 3, device), 32, 1, True, device)
    recipe = dataclasses.replace(RECIPES[recipe], **changes)
    criterion = row.criterion(model.classifier).to(device)
    return Trainer(model, criterion, batches, recipe, 3, 1, precision, capture=capture)


def state_of(trainer):
    """All that a step changes, as tensors by name, on the CPU."""
    state = trainer.state_dict()
    own = state["processes"][0]
    found = {f"parameter {name}": value for name, value in state["parameters"].items()}
    found |= {f"buffer {name}": value.nan_to_num(7) for name, value in own["buffers"].items()}
    found |= {f"momentum {key}": held["momentum_buffer"] for key, held in state["optimizer"]["state"].items()}
    generators = {name: own[name] for name in ("mixing", "global", "global_cuda") if own[name] is not None}
    return {name: value.cpu().clone() for name, value in (found | generators | {"drawn": state["drawn"]}).items()}


def assert_same(first, second):
    different = [name for name, value in first.items() if not value.equal(second[name])]
    assert not different


def trained(trainer, epochs=2):
    summaries = [trainer.run_epoch(lambda *_: None) for _ in range(epochs)]
    return state_of(trainer) | {"summaries": torch.tensor([[summary.loss, summary.accuracy] for summary in summaries])}


@pytest.mark.parametrize("loss_name", LOSSES)
def test_the_operations_of_the_first_step_are_those_of_all(loss_name):
    precision = {"dismax": "bf16", "duq": "fp16"}.get(loss_name, "fp32")  # DUQ's first gradients overflow in fp16
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


def gone_on(trainer, stop, resumed, path):
    """The state after three epochs: `trainer` is interrupted after so many steps, and `resumed` goes on from its checkpoint."""
    steps = iter(range(1, 100))

    def report(*_):
        if next(steps) == stop:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        for _ in range(3):
            trainer.run_epoch(report)
    assert next(steps) == stop + 1
    checkpoint.save(path, trainer.state_dict())
    resumed.load_state_dict(checkpoint.load(path))
    while resumed.epoch < 3:
        resumed.run_epoch(lambda *_: None)
    return state_of(resumed)


@pytest.mark.parametrize("stop", [2, 4])  # within an epoch
def test_eager_and_traced_runs_go_on_from_each_others_checkpoints(tmp_path, stop):
    whole = trainer_of("dismax")
    for _ in range(3):
        whole.run_epoch(lambda *_: None)
    for first, second in ((None, TracedStep), (TracedStep, None), (TracedStep, TracedStep)):
        trainers = trainer_of("dismax", capture=first), trainer_of("dismax", capture=second)
        assert_same(state_of(whole), gone_on(trainers[0], stop, trainers[1], tmp_path / "last.pt"))


def test_the_first_bad_step_is_named_by_a_traced_run_too():
    for capture in (None, TracedStep):
        trainer = trainer_of("softmax", capture=capture, learning_rate=1e30)
        with pytest.raises(NonFiniteLoss, match=r"epoch 1 at step [23] "):
            trainer.run_epoch(lambda *_: None)


def test_what_cannot_be_a_graph_is_said():
    softmax = trainer_of("softmax").criterion
    assert why_not("auto", CUDA, 1, False, softmax) == ""
    assert why_not("auto", CPU, 1, False, softmax) == "cpu has none"
    assert why_not("off", CUDA, 1, False, softmax) == "--cuda-graph is off"
    assert why_not("auto", CUDA, 2, False, softmax) == "several processes train"
    assert why_not("auto", CUDA, 1, True, softmax) == "the images are read from files"
    softmax.capturable = False
    assert why_not("auto", CUDA, 1, False, softmax) == "SoftMaxLossSecondPart cannot be captured"


def on_a_gpu(loss_name, capture=GraphedStep, precision="bf16", **changes):
    """A trainer on the GPU with six batches and a tail an epoch: the fourth batch is the first that a graph computes."""
    return trainer_of(loss_name, CUDA, capture, precision, count=201, **changes)


ASKING = """
from tests.test_graph import on_a_gpu
from utils.graph import CaptureError
trainer = on_a_gpu("softmax")
loss_of = trainer.criterion.training_loss
trainer.criterion.training_loss = lambda logits, targets: loss_of(logits, targets) * (logits.sum().item() * 0 + 1)
try:
    trainer.run_epoch(lambda *_: None)
except CaptureError as error:
    print(error)
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
        trainer.batches.windows = trainer.batches.windows[:1].expand(201, -1, -1, -1, -1, -1)  # all images are the same
        trainer.batches.padding, trainer.batches.flip, sums = 0, False, []
        trainer.run_epoch(lambda *_: sums.append(trainer.sums.loss.item()))
        assert len({round(after - before, 6) for before, after in itertools.pairwise([0.0, *sums[:6]])}) == 6
        trainer, orders = on_a_gpu("dismax"), []
        trainer.run_epoch(lambda *_: orders.append(trainer.criterion._targets.tolist()))
        assert len({*map(tuple, orders[3:6])}) == 3

    def test_the_learning_rate_moves(self):
        trainer, rates = on_a_gpu("softmax"), []
        trainer.run_epoch(lambda *_: rates.append((trainer.optimizer.param_groups[0]["lr"].item(), trainer.last_rate)))
        assert len({*rates}) == 7
        assert [rate for rate, _ in rates] == pytest.approx([rate for _, rate in rates], rel=1e-6)

    @pytest.mark.parametrize("stop", [2, 5, 7, 11])  # before the capture, after it, after the tail, in the second epoch
    @pytest.mark.parametrize(("first", "second"), [(None, GraphedStep), (GraphedStep, None), (GraphedStep, GraphedStep)])
    def test_graphs_and_operations_go_on_from_each_others_checkpoints(self, tmp_path, stop, first, second):
        whole = trained(on_a_gpu("dismax"), epochs=3)
        assert_same(gone_on(on_a_gpu("dismax", first), stop, on_a_gpu("dismax", second), tmp_path / "last.pt"), whole)

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
        done = subprocess.run([sys.executable, "-c", ASKING], cwd=ROOT, capture_output=True, text=True)
        assert "the training step cannot be a CUDA graph (" in done.stdout, done.stderr
        assert "take --cuda-graph off" in done.stdout
        assert "previous error" not in done.stdout  # the reason is that of the step

    @pytest.mark.slow
    def test_a_killed_run_goes_on_to_the_same_record(self, tmp_path):
        given = ["--device", "cuda", "--precision", "bf16", "--epochs", "20", "--checkpoint-every", "0.000001", "minutes"]
        for place, kills in (("whole", 0), ("killed", 3)):
            command = [sys.executable, "main.py", *given, "--runs", str(tmp_path / place / "runs")]
            for _ in range(kills):
                run = subprocess.Popen(command, cwd=ROOT)
                last = tmp_path / place / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.LAST
                before = last.stat().st_mtime_ns if last.exists() else 0
                while run.poll() is None and not (last.exists() and last.stat().st_mtime_ns > before):
                    time.sleep(0.01)
                time.sleep(0.3)
                run.kill()
                run.wait()
            assert subprocess.run(command, cwd=ROOT).returncode == 0
        first, second = (without_times(record_of(tmp_path / place)) for place in ("whole", "killed"))
        assert first == second
