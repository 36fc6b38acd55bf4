"""The learning rate of every step."""

import pytest
import torch
from torch import nn

from experiment.recipes import RECIPES
from losses import LOSSES
from tests.stepping import make_trainer


def trainer_with(recipe, epochs, loss="softmax"):
    """A trainer of a small network with a recipe."""
    return make_trainer(LOSSES[loss].head, LOSSES[loss].criterion, epochs=epochs, recipe=recipe)


def test_the_papers_learning_rate_falls_after_1_2_2_3_and_5_6_of_the_epochs():
    assert RECIPES["paper"].as_record(300)["decay_after"] == [150, 200, 250]
    assert RECIPES["paper"].as_record(1)["decay_after"] == [1, 1, 1]
    trainer = trainer_with("paper", epochs=6)
    rates = []
    for _ in range(6):
        rates.append(trainer.learning_rate)
        trainer.run_epoch(lambda *_: None)
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.001, 0.0001])


def step_rates(trainer, epochs):
    """Train for some epochs. Returns the learning rate of every step."""
    rates = []

    def note(*_):
        rates.append(trainer.last_rate)
        for group in trainer.optimizer.param_groups:  # the optimizer's own value
            assert group["lr"].equal(torch.tensor(trainer.last_rate))

    for _ in range(epochs):
        trainer.run_epoch(note)
    return rates


@pytest.mark.parametrize("recipe", ["paper", "imagenet", "openood"])
def test_the_learning_rate_of_every_step_is_that_of_torchs_scheduler(recipe):
    """Equal to the bit where it falls in steps. For the cosine, this code uses the closed form and
    torch a recursion.
    """
    epochs = 7
    steps = 3  # per epoch
    trainer = trainer_with(recipe, epochs, loss="scaledcosine")
    rates = step_rates(trainer, epochs)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    falls = RECIPES[recipe].as_record(epochs).get("decay_after")
    if falls:
        scheduler = torch.optim.lr_scheduler.MultiStepLR(
            optimizer, [steps * epoch for epoch in falls], 0.1
        )
    else:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * epochs)
    for rate in rates:
        expected = scheduler.get_last_lr()[0]
        assert rate == (expected if falls else pytest.approx(expected, rel=1e-9))
        optimizer.step()
        scheduler.step()


def test_a_run_that_resumes_within_an_epoch_continues_the_cosine():
    whole = step_rates(
        trainer_with("openood", epochs=3),
        3,
    )
    trainer = trainer_with("openood", epochs=3)

    def stop(*_):
        if trainer.sums.steps == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run_epoch(stop)
    resumed = trainer_with("openood", epochs=3)
    resumed.load_state_dict(trainer.state_dict())
    assert step_rates(resumed, 3) == whole[2:]
