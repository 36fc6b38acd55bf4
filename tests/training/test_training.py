"""The training loop: the hooks of the contract, the saved state, overflow and NaN."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from experiment.evaluation import predict
from experiment.recipes import RECIPES
from losses import LOSSES, LossFirstPart, LossSecondPart
from models import build_model
from tests.stepping import epoch_of, make_trainer
from training import checkpoint
from training.trainer import NonFiniteLoss, Trainer
from utils import runtime


class WatchedHead(LossFirstPart):
    score_type = "MPS"

    def __init__(self, num_features, num_classes):
        super().__init__(num_features, num_classes)
        self.linear = nn.Linear(num_features, num_classes)
        self.register_buffer("steps", torch.zeros(()))

    def raw_logits(self, features):
        return self.linear(features)


class WatchedCriterion(LossSecondPart):
    """Uses every hook of the contract."""

    penalizes_inputs = True

    def __init__(self, classifier):
        super().__init__(classifier)
        self.calls = []

    def penalty(self, inputs, logits):
        (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        return 7 + 0.1 * gradient.square().sum((1, 2, 3)).mean()

    def no_decay_parameters(self):
        return list(self.classifier.parameters())

    def before_epoch(self, epoch):
        self.calls.append(("before", epoch))
        self.classifier.steps.zero_()

    def after_step(self, model, inputs, targets, logits):
        assert model.forward_features(inputs).shape[0] == len(targets) == len(logits)
        assert not logits.requires_grad
        assert not inputs.requires_grad
        self.classifier.steps += 1

    def after_epoch(self, epoch):
        self.calls.append(("after", epoch, int(self.classifier.steps)))


def test_the_loop_calls_every_hook_of_the_contract():
    trainer = make_trainer(WatchedHead, WatchedCriterion)
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [1e-4, 0.0]
    reported = []
    summaries = [trainer.run_epoch(lambda images, _: reported.append(images)) for _ in range(2)]
    assert trainer.criterion.calls == [
        ("before", 1),
        ("after", 1, 3),
        ("before", 2),
        ("after", 2, 3),
    ]
    assert sum(reported) == 88
    assert all(summary.loss > 7 for summary in summaries)  # it contains the penalty


@pytest.mark.parametrize("model_name", ["densenetbc22", "resnet10", "wideresnet101"])
def test_two_steps_equal_those_of_a_plain_loop_in_float64(model_name):
    """The trainer uses channels last, in-place ReLUs and the fused optimizer. The plain loop uses
    NCHW, float64 and torch's standard ones.
    """
    torch.manual_seed(0)
    device = torch.device("cpu")
    model = build_model(model_name, 4, LOSSES["softmax"].head)
    plain = copy.deepcopy(model).double()
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    pixels, labels = torch.randint(256, (32, 3, 16, 16), dtype=torch.uint8), torch.arange(32) % 4
    batches = TrainingBatches(
        Images(pixels, labels, ()), Normalizer((0.5,) * 3, (0.3,) * 3, device), 16, 2, True, device
    )
    model = model.to(memory_format=torch.channels_last)
    criterion = LOSSES["softmax"].criterion(model.classifier)
    recipe = dataclasses.replace(RECIPES["paper"], learning_rate=0.01)
    trainer = Trainer(model, criterion, batches, recipe, 1, 1, "fp32")
    optimizer = torch.optim.SGD(
        plain.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, foreach=False
    )
    before = copy.deepcopy(plain.state_dict())
    for inputs, targets in epoch_of(batches, runtime.seeds(1, 2)[0]):
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(inputs.double().contiguous()), targets).backward()
        optimizer.step()
    trainer.run_epoch(lambda *_: None)
    trained = model.state_dict()
    for name, expected in plain.state_dict().items():
        if expected.is_floating_point() and "classifier.t" not in name:
            change = trained[name].double() - before[name]
            expected_change = expected - before[name]
            # If rounding moves an activation across a ReLU's zero, its gradient differs. This
            # happens to a few in a thousand.
            difference = (change - expected_change).norm()
            assert difference <= 1e-2 * expected_change.norm() + 1e-6, name


def test_training_with_evaluations_and_resumes_gives_the_same_bits(tmp_path):
    def trained(interrupted):
        trainer = make_trainer(LOSSES["dismax"].head, LOSSES["dismax"].criterion, epochs=3)
        summaries = []
        for _ in range(3):
            summaries.append(trainer.run_epoch(lambda *_: None))
            if interrupted:
                predict(trainer.model, [torch.randn(5, 3, 8, 8)], trainer.context)
                state = trainer.state_dict()
                torch.save(state, interrupted)
                trainer = make_trainer(
                    LOSSES["dismax"].head, LOSSES["dismax"].criterion, epochs=3, seed=7
                )
                trainer.load_state_dict(checkpoint.load(interrupted))
        return (
            summaries,
            {n: v for n, v in trainer.model.state_dict().items() if "thresholds" not in n},
            trainer.learning_rate,
        )

    path = tmp_path / "state.pt"
    summaries, weights, rate = trained(None)
    resumed_summaries, resumed_weights, resumed_rate = trained(path)
    assert summaries == resumed_summaries
    assert rate == resumed_rate
    assert all(weights[name].equal(resumed_weights[name]) for name in weights)


def test_the_scale_of_float16_gradients_is_saved_and_loaded():
    first, second = (
        make_trainer(LOSSES["softmax"].head, LOSSES["softmax"].criterion) for _ in range(2)
    )
    for trainer in (first, second):
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    first.model.classifier.bias.register_hook(lambda gradient: gradient * torch.inf)
    first.run_epoch(lambda *_: None)  # three steps whose gradients overflow
    second.load_state_dict(first.state_dict())
    assert second.scaler.get_scale() == first.scaler.get_scale() == 1024 / 2**3


def test_the_summary_has_the_mean_loss_and_the_accuracy_of_the_unmixed_images():
    trainer = make_trainer(LOSSES["dismax"].head, LOSSES["dismax"].criterion)
    unmixed = trainer.criterion.unmixed
    loss_of = trainer.criterion.training_loss
    steps = []  # (loss, number of images, which unmixed images are classified correctly)

    def training_loss(logits, targets):
        loss = loss_of(logits, targets)
        unmixed_logits, labels = unmixed(logits, targets)
        hits = (unmixed_logits.argmax(1) == labels).tolist()
        steps.append((loss.item(), len(targets), hits))
        return loss

    trainer.criterion.training_loss = training_loss
    summary = trainer.run_epoch(lambda *_: None)
    assert [count for _, count, _ in steps] == [16, 16, 12]
    correct = [hit for _, _, hits in steps for hit in hits]
    assert len(correct) == 8 + 8 + 6  # mosaics have no single label
    assert summary.accuracy == pytest.approx(sum(correct) / len(correct))
    assert summary.loss == pytest.approx(
        sum(loss * count for loss, count, _ in steps) / 44, rel=1e-5
    )


def test_a_loss_that_is_not_finite_is_an_error_with_epoch_and_step():
    trainer = make_trainer(LOSSES["softmax"].head, LOSSES["softmax"].criterion, learning_rate=1e30)
    with pytest.raises(NonFiniteLoss, match=r"epoch 1 at step [23] \(learning rate 1e\+30\)"):
        trainer.run_epoch(lambda *_: None)


def test_steps_whose_scaled_gradients_overflow_change_nothing():
    trainer = make_trainer(LOSSES["softmax"].head, LOSSES["softmax"].criterion)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    overflow = trainer.model.classifier.bias.register_hook(lambda gradient: gradient * torch.inf)
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.run_epoch(lambda *_: None)
    assert trainer.scaler.get_scale() == 1024 / 2**3  # three steps
    for name, value in trainer.model.named_parameters():
        assert value.equal(before[name])
        assert not trainer.optimizer.state[value]["momentum_buffer"].any()
    overflow.remove()
    assert trainer.run_epoch(lambda *_: None).loss < 10
    assert not trainer.model.classifier.weight.equal(before["classifier.weight"])
