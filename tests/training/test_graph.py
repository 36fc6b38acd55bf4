"""A training step as one graph, traced on a CPU: the same bits as eager steps."""

import pytest
import torch
from torch._dynamo.utils import counters

from dismax import archive
from experiment.evaluation import classify
from losses import LOSSES
from tests.stepping import (
    TracedStep,
    assert_same,
    interrupted_and_resumed,
    state_of,
    trained,
    trainer_of,
)
from training import checkpoint
from training.epoch_sums import NonFiniteLoss


@pytest.mark.parametrize("loss_name", LOSSES)
def test_every_step_has_the_operations_of_the_first_step(loss_name):
    # DUQ's first gradients overflow in fp16.
    precision = {"dismax": "bf16", "duq": "fp16"}.get(loss_name, "fp32")
    eager = trained(trainer_of(loss_name, precision=precision))
    assert_same(eager, trained(trainer_of(loss_name, precision=precision, capture=TracedStep)))


@pytest.mark.parametrize("use", ["a number", "a branch"])
def test_tracing_reveals_a_step_that_uses_a_changing_python_value(use):
    """The test above would notice such a step."""

    def weight_after_training(capture):
        trainer = trainer_of("softmax", capture=capture)
        steps = iter(range(1, 100))
        loss_of = trainer.criterion.training_loss

        def training_loss(logits, targets):
            step = next(steps)
            loss = loss_of(logits, targets)
            if use == "a number":
                return loss * step
            return loss if step == 1 else -loss

        trainer.criterion.training_loss = training_loss
        return trained(trainer, epochs=1)["parameter classifier.weight"]

    assert not weight_after_training(None).equal(weight_after_training(TracedStep))


@pytest.mark.parametrize("loss_name", ["dismax", "sngp"])
def test_a_network_is_compiled_whole_before_its_step_is_captured(loss_name):
    """After the first step, only the smaller last batch is compiled."""
    torch._dynamo.reset()
    counters.clear()
    trainer = trainer_of(loss_name, count=201)
    graphs = []  # compiled so far, after each step
    trainer.model.compile(backend="aot_eager")  # it compiles when the default backend does
    for _ in range(2):
        trainer.run_epoch(lambda *_: graphs.append(counters["stats"]["unique_graphs"]))
        classify(trainer.model, [torch.zeros(7, 3, 8, 8)], trainer.context)  # as after every epoch
    assert graphs == [1] * 6 + [2] * 8
    assert not counters["graph_break"]


@pytest.mark.parametrize("stop", [2, 4])  # within an epoch
@pytest.mark.parametrize(
    ("first", "second"), [(None, TracedStep), (TracedStep, None), (TracedStep, TracedStep)]
)
def test_eager_and_traced_steps_resume_from_each_others_checkpoints(tmp_path, first, second, stop):
    whole = trainer_of("dismax")
    for _ in range(3):
        whole.run_epoch(lambda *_: None)
    interrupted = trainer_of("dismax", capture=first)
    resumed = trainer_of("dismax", capture=second)
    state = interrupted_and_resumed(interrupted, stop, resumed, tmp_path / "last.pt")
    assert_same(state_of(whole), state)


def test_a_step_is_captured_again_after_a_checkpoint_is_loaded(tmp_path):
    """The optimizer then has other tensors: those of the checkpoint."""
    trainer = trainer_of("softmax", capture=TracedStep)
    trained(trainer, epochs=1)
    archive.save(tmp_path / "last.pt", trainer.state_dict())
    whole = trained(trainer)
    trainer.load_state_dict(checkpoint.load(tmp_path / "last.pt"))
    assert_same(whole, trained(trainer))


def test_eager_and_traced_steps_name_the_same_first_step_with_a_nan_loss():
    messages = []
    for capture in (None, TracedStep):
        trainer = trainer_of("softmax", capture=capture, learning_rate=1e30)
        with pytest.raises(NonFiniteLoss, match=r"epoch 1 at step [23] ") as caught:
            trainer.run_epoch(lambda *_: None)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
