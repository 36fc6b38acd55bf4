"""The command line of main.py as a configuration in which nothing is left open."""

import pytest

from data import sources
from experiment.parsing import parse


def test_the_way_a_path_is_written_does_not_change_the_run(tmp_path, monkeypatch):
    folder = tmp_path / "sets" / "mine"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    identities = [
        parse(["--data", path, "--ood", "near=.."]).identity()
        for path in (str(folder), f"{folder}/", ".", "../mine")
    ]
    assert all(identity == identities[0] for identity in identities)
    assert identities[0]["ood"] == [f"near={tmp_path}/sets"]


def test_the_papers_recipe_is_the_default_for_cifar():
    config = parse(["--data", "cifar10"])
    assert config.recipe == "paper"
    assert config.batch_size == 64
    assert config.epochs == 300
    assert config.model == "densenetbc100"


@pytest.mark.parametrize(("data", "near"), [("cifar10", "cifar100"), ("cifar100", "cifar10")])
def test_openoods_recipe_has_defaults_for_the_training_and_the_ood_sets(data, near):
    config = parse(["--data", data, "--recipe", "openood"])
    assert config.model == "resnet18"
    assert config.epochs == 100
    assert config.batch_size == 128
    ood_sets = sources.ood_sets(config.data, config.ood, config.recipe)
    assert [source for role, source in ood_sets if role == "near"] == [near, "tinyimagenet"]
    far = [source for role, source in ood_sets if role == "far"]
    assert far == ["mnist", "svhn", "textures", "places365"]


@pytest.mark.parametrize(("data", "near"), [("cifar10", "cifar100"), ("cifar100", "cifar10")])
def test_options_override_the_recipes_defaults(data, near):
    options = ["--model", "resnet34", "--epochs", "7", "--batch-size", "32"]
    options += ["--ood", "svhn", near, "lsun_resize"]
    config = parse(["--data", data, "--recipe", "openood", *options])
    assert config.model == "resnet34"
    assert config.epochs == 7
    assert config.batch_size == 32
    assert config.ood == ("far=svhn", f"near={near}", "far=lsun_resize")  # the recipe's roles


def test_an_unknown_recipe_is_an_error():
    with pytest.raises(ValueError, match="--recipe is one of paper, .*got 'mine'"):
        parse(["--recipe", "mine"])
