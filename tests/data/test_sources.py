"""Sources: names of the catalog, paths, and their roles."""

from pathlib import Path

import pytest

from data import sources
from data.catalog import CATALOG
from data.entries import ROLES, TrainingSet
from tests.common import ROOT


def test_every_default_ood_set_is_in_the_catalog():
    for name, entry in CATALOG.items():
        for recipe in (None, *getattr(entry, "recipes", ())):
            chosen = sources.ood_sets(name, (), recipe) if isinstance(entry, TrainingSet) else []
            assert {source for _, source in chosen} <= set(CATALOG) - {name}
            assert {role for role, _ in chosen} <= set(ROLES)


def test_chosen_ood_sets_have_roles():
    assert sources.ood_sets("cifar10", ("svhn", "near=x.npz", "y")) == [
        ("very_far", "svhn"),
        ("near", "x.npz"),
        ("far", "y"),
    ]
    with pytest.raises(ValueError, match="'svhn' is given twice"):
        sources.ood_sets("cifar10", ("svhn", "far=svhn"))
    for given in ("near=", "far=cifar10"):
        with pytest.raises(ValueError, match=f"--ood {given} names"):
            sources.ood_sets("cifar10", (given,))


def test_a_folder_of_in_distribution_images_is_no_ood_set(tmp_path):
    data = tmp_path / "mine"
    for name in ("train/cat", "test/cat", "ood", "linked"):
        (data / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(data / "test")
    for name in ("mine/test", "mine/train/cat", "link", "."):
        with pytest.raises(ValueError, match="holds images of the in-distribution set"):
            sources.ood_sets(str(data), (f"near={tmp_path / name}",))
    assert sources.ood_sets(str(data), (str(data / "ood"),)) == [("far", str(data / "ood"))]
    lists = tmp_path / "lists"
    (lists / "train" / "left_out").mkdir(parents=True)
    for name in ("train", "test"):
        (lists / f"{name}.txt").touch()
    assert sources.ood_sets(str(lists), (str(lists / "train" / "left_out"),))
    with pytest.raises(ValueError, match="holds images of the in-distribution set"):
        sources.ood_sets(str(lists), (str(lists / "test.txt"),))
    alone = tmp_path / "alone"
    (alone / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=f"which are in {alone}: name another folder"):
        sources.ood_sets(str(alone), (str(alone / "cat"),))


@pytest.mark.parametrize("name", ["digits", "photos", "noise", "svhn", "digits89"])
def test_a_name_of_the_catalog_that_is_a_path_too_is_refused_with_both_ways_to_name_it(
    tmp_path, run_main, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    option = "--data" if name == "digits" else "--ood"
    for given in (name, f"far={name}") if option == "--ood" else (name,):
        status, _, err = run_main(option, given)
        assert (status, err.count("\n")) == (2, 1)
        assert (
            f"{name} is a set of the catalog and a path here: write ./{name} for the path, "
            f"catalog:{name} for the set" in err
        )
    root = tmp_path / "downloads"
    assert sources.absolute_source(f"./{name}", root) == str(tmp_path / name)
    assert sources.absolute_source(f"catalog:{name}", root) == name
    assert sources.absolute_source(f"near=catalog:{name}", root) == f"near={name}"
    assert sources.absolute_source("gone", root) == "gone"
    with pytest.raises(ValueError, match="catalog:nothing is no set of the catalog: choose from"):
        sources.absolute_source("catalog:nothing", root)


def test_the_folder_of_a_catalog_set_is_not_another_path(tmp_path, monkeypatch):
    (tmp_path / "imagenet1k").mkdir()
    monkeypatch.chdir(tmp_path)
    assert sources.absolute_source("imagenet1k", Path()) == "imagenet1k"
    with pytest.raises(ValueError, match="write ./imagenet1k for the path"):
        sources.absolute_source("imagenet1k", ROOT)


def test_a_link_has_its_own_name_and_is_the_set_that_it_leads_to(tmp_path, monkeypatch):
    (tmp_path / "stored").mkdir()
    (tmp_path / "stored" / "v2_test.npz").touch()
    (tmp_path / "Scenes.npz").symlink_to(tmp_path / "stored" / "v2_test.npz")
    (tmp_path / "photographs").symlink_to(tmp_path / "stored")
    monkeypatch.chdir(tmp_path)
    scenes = sources.absolute_source("near=Scenes.npz", Path())
    assert scenes == f"near={tmp_path / 'Scenes.npz'}"
    assert sources.title_of("photographs/../Scenes.npz") == "Scenes"
    assert [sources.title_of(path) for path in ("photographs", "photographs/")] == [
        "photographs"
    ] * 2
    monkeypatch.chdir("stored")
    assert sources.absolute_source(".", Path()) == str(tmp_path / "stored")
    assert sources.title_of("..") == tmp_path.name
    with pytest.raises(ValueError, match=r"v2_test.npz' is given twice: '.*/Scenes.npz' is the"):
        sources.ood_sets("cifar10", (scenes, str(tmp_path / "stored" / "v2_test.npz")))
    with pytest.raises(ValueError, match="the in-distribution set itself"):
        sources.ood_sets(str(tmp_path / "stored"), (str(tmp_path / "photographs"),))


def test_a_path_that_is_named_as_a_set_of_the_catalog_is_another_set(tmp_path, monkeypatch):
    (tmp_path / "svhn").mkdir()
    monkeypatch.chdir(tmp_path)
    both = [sources.absolute_source(text, tmp_path / "root") for text in ("catalog:svhn", "./svhn")]
    assert [name for _, name in sources.ood_sets("cifar10", tuple(both))] == both
