"""The recipes for weights that were trained before: warm-up, a smaller rate for the body, AdamW,
and a body that stays as it is.
"""

import math
import os

import pytest
import torch

from experiment.recipes import RECIPES
from tests.common import QUICK, interrupted, record_of, run_folder, without_times
from tests.stepping import trainer_of
from training import checkpoint

FINETUNE = ("finetune", "finetune_adamw")


@pytest.mark.parametrize("name", FINETUNE)
def test_the_rate_rises_in_the_first_tenth_and_falls_to_0_along_a_cosine(name):
    recipe = RECIPES[name]
    rates = [recipe.rate(step / 10, 20) / recipe.learning_rate for step in range(201)]
    assert rates[0] == 0.01
    assert rates[1:21] == pytest.approx([step / 20 for step in range(1, 21)])
    cosine = [(1 + math.cos(math.pi * step / 180)) / 2 for step in range(181)]
    assert rates[20:] == pytest.approx(cosine)


@pytest.mark.parametrize("name", FINETUNE)
def test_the_body_trains_with_a_tenth_of_the_heads_rate(name):
    trainer = trainer_of("dismax", recipe=name)
    body = {id(parameter) for parameter in trainer.model.body.parameters()}

    def check(*_):
        for group in trainer.optimizer.param_groups:
            (in_body,) = {id(parameter) in body for parameter in group["params"]}
            scale = 0.1 if in_body else 1
            assert float(group["lr"]) == pytest.approx(scale * trainer.last_rate)

    trainer.run_epoch(check)
    counted = sum(len(group["params"]) for group in trainer.optimizer.param_groups)
    assert counted == len(list(trainer.model.parameters()))


def test_a_method_without_weight_decay_for_some_parameters_keeps_it_so():
    trainer = trainer_of("scaledcosine", recipe="finetune")
    no_decay = {id(parameter) for parameter in trainer.criterion.no_decay_parameters()}
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0 if id(parameter) in no_decay else 1e-4)


def make_weights(run_main, tmp_path):
    """Train a network of another seed, and return its weights' file."""
    assert run_main("--loss", "softmax", "--seed", "7", *QUICK)[0] == 0
    return run_folder(tmp_path, "softmax", 7) / "model.pt"


def change_a_weight(path):
    content = torch.load(path)
    next(iter(content["state_dict"].values())).add_(1)
    torch.save(content, path)


@pytest.mark.parametrize("recipe", FINETUNE)
def test_an_interrupted_fine_tuning_resumes_to_the_same_weights(
    run_main, tmp_path, monkeypatch, recipe
):
    weights = make_weights(run_main, tmp_path)
    options = ("--loss", "dismax", "--weights", str(weights), "--recipe", recipe, *QUICK)
    assert run_main(*options)[0] == 0
    whole = without_times(record_of(tmp_path))
    state = checkpoint.load(run_folder(tmp_path) / "model.pt")["state_dict"]
    run_folder(tmp_path).rename(tmp_path / "earlier")
    assert "to continue" in interrupted(run_main, monkeypatch, 1, *options)
    change_a_weight(weights)  # the checkpoint has all weights
    status, out, _ = run_main(*options)
    assert status == 0
    assert "resuming after epoch 1" in out
    assert without_times(record_of(tmp_path)) == whole
    resumed = checkpoint.load(run_folder(tmp_path) / "model.pt")["state_dict"]
    assert all(value.equal(state[name]) for name, value in resumed.items())


def test_a_finished_run_whose_first_weights_have_changed_is_not_skipped(run_main, tmp_path):
    weights = make_weights(run_main, tmp_path)
    options = ("--loss", "dismax", "--weights", str(weights), "--recipe", "finetune", *QUICK)
    assert run_main(*options)[0] == 0
    os.utime(weights)  # the same weights in a newer file
    assert "skipped" in run_main(*options)[1]
    change_a_weight(weights)
    status, _, err = run_main(*options)
    assert (status, f"the weights in {weights} have changed since" in err) == (2, True)


def test_a_frozen_body_ends_with_the_weights_that_it_started_with(run_main, tmp_path):
    weights = make_weights(run_main, tmp_path)
    status, out, _ = run_main("--loss", "dismax", "--weights", str(weights), "--freeze", *QUICK)
    assert status == 0
    assert f"come from {weights}; the head is new" in out
    before = checkpoint.load(weights)["state_dict"]
    after = checkpoint.load(run_folder(tmp_path) / "model.pt")["state_dict"]
    body = [name for name in after if name.startswith("body.")]
    assert body
    assert all(after[name].equal(before[name]) for name in body)
    # With weights, the default recipe is the one for fine-tuning.
    assert record_of(tmp_path)["config"]["recipe"] == "finetune"


def test_the_options_change_the_recipes_numbers_and_the_record_says_so(run_main, tmp_path):
    options = ("--learning-rate", "0.02", "--weight-decay", "0.003", *QUICK)
    assert run_main("--recipe", "finetune_adamw", *options)[0] == 0
    recipe = record_of(tmp_path)["recipe"]
    assert (recipe["learning_rate"], recipe["weight_decay"]) == (0.02, 0.003)
    assert recipe["optimizer"] == "adamw"


@pytest.mark.parametrize(("options", "message"), [
    (("--freeze",), "--freeze keeps the body's weights: name them with --weights"),
    (("--weights", "nowhere.pt"), "nowhere.pt is no file"),
    (("--learning-rate", "-1"), "--learning-rate is a number, 0 or more, got -1"),
    (("--weight-decay", "nan"), "--weight-decay is a number, 0 or more, got nan"),
    (("--size", "32"), "--size is for a folder of your own images, and digits has its own"),
    (("--workers", "0"), "--workers must be 1 or more, got 0"),
])  # fmt: skip
def test_a_bad_option_is_refused_in_one_line_and_nothing_is_written(
    run_main, tmp_path, options, message
):
    status, _, err = run_main(*options, *QUICK)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not run_folder(tmp_path).exists()


def test_adamw_keeps_no_state_of_another_shape():
    trainer = trainer_of("softmax", recipe="finetune_adamw")
    trainer.run_epoch(lambda *_: None)
    state = trainer.state_dict()
    first = next(iter(state["optimizer"]["state"].values()))
    first["exp_avg"] = torch.zeros(1)
    other = trainer_of("softmax", recipe="finetune_adamw")
    with pytest.raises(ValueError, match="state is not that of these parameters"):
        other.load_state_dict(state)
