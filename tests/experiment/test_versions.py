"""Runs of an earlier version of a loss, network or recipe: they are not resumed and not averaged
with new runs, and a network that would compute something else is refused.
"""

import re

import pytest
from PIL import Image

import analyze
import detect
import predict
from data.sources import ood_sets
from dismax import archive
from dismax.detector import Detector
from experiment import folder, records
from experiment.config import RunConfig, identity_of
from experiment.recipes import RECIPES
from losses import LOSSES
from models import EXAMPLES
from tests.common import QUICK, interrupted, run_folder
from tests.finished_runs import model_file_content
from training import checkpoint
from utils import versions


def config_of(**fields):
    """A configuration as JSON."""
    return RunConfig(**{"model": "smallcnn", "recipe": "paper", "epochs": 3} | fields).as_json()


def edit_config(path, change):
    """Change the configuration in one of a run's files, as an earlier version would have it."""
    if path.suffix == ".json":
        content = records.read_json(path)
        change(content.get("config", content))
        records.write_json(path, content)
    else:
        content = checkpoint.load(path)
        change(content["identity" if "identity" in content else "config"])
        archive.save(path, content)


def remove_versions(config):
    del config["versions"]


def test_every_entry_in_the_table_of_changes_names_something_that_exists():
    families = {re.sub(r"\d+", "", name) for name in EXAMPLES}
    known = {*families, *LOSSES, *RECIPES, *detect.DETECTORS, "mnist", "resizing"}
    assert {*versions.CHANGES} <= known
    assert not any(
        change.what.endswith(".") for changes in versions.CHANGES.values() for change in changes
    )


@pytest.mark.parametrize("recipe", ["paper", "openood"])
@pytest.mark.parametrize("data", ["digits", "cifar10", "cifar100", "svhn", "imagenet1k"])
def test_sets_that_are_the_default_have_the_versions_that_named_ones_have(data, recipe):
    named = tuple(f"{role}={name}" for role, name in ood_sets(data, (), recipe))
    config = config_of(data=data, recipe=recipe)
    assert config["versions"] == config_of(data=data, recipe=recipe, ood=named)["versions"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"loss": "isomaxplus", "ood": ("near=cifar100", "far=svhn")}, set()),
        ({"loss": "dismax"}, {"dismax"}),
        ({"loss": "isomax", "data": "photographs", "size": 64}, {"resizing"}),
        ({"loss": "sngp", "model": "wideresnet2810"}, {"sngp", "wideresnet"}),
        (
            {"loss": "isomax", "model": "resnet18_imagenet", "data": "imagenet1k"},
            {"resnet_imagenet", "resizing"},
        ),
        (
            {"loss": "dismax_nofpr", "recipe": "openood", "ood": ("far=mnist", "near=textures")},
            {"openood", "mnist", "resizing"},
        ),
        ({"loss": "isomaxplus", "ood": ("far=/my/photos", "near=svhn")}, {"resizing"}),
        ({"loss": "isomaxplus", "ood": ("far=/my/photos.npz", "near=svhn")}, {"resizing"}),
    ],
)
def test_a_configuration_has_the_versions_of_what_it_names(fields, names):
    config = config_of(**fields)
    assert config["versions"] == dict.fromkeys(names, 2)
    assert versions.outdated(config) == {}
    older = config | {"versions": {}}
    assert set(versions.outdated(older)) == names
    newer = config | {"versions": dict.fromkeys(names, 3)}
    assert set(versions.outdated(newer)) == names


@pytest.mark.parametrize(
    "damaged",
    [[], "2", {"dismax": "2"}, {"dismax": 0}, {"dismax": -1}, {"dismax": None}, {"dismax": True}],
)
def test_damaged_versions_are_an_error(damaged):
    with pytest.raises(
        ValueError, match="the versions in a configuration are a name and a whole number each, got"
    ):
        versions.outdated(config_of(loss="dismax") | {"versions": damaged})


def test_the_loss_of_an_ensemble_is_that_of_its_members():
    assert versions.loss_of({"loss": "ensemble"}) == "softmax"
    assert versions.loss_of({"loss": "ensemble_dismax"}) == "dismax"


def test_a_run_without_versions_is_the_same_run_if_nothing_has_changed():
    config = config_of(loss="isomaxplus")
    before = {name: value for name, value in config.items() if name != "versions"}
    assert identity_of(before) == identity_of(config)
    assert folder.differences(before, identity_of(config)) == []


@pytest.fixture
def run(run_main, tmp_path):
    """The folder of a short run of DisMax on the digits."""
    assert run_main(*QUICK)[0] == 0
    return run_folder(tmp_path)


def test_a_finished_run_of_an_earlier_version_is_refused(run, run_main):
    edit_config(run / records.CONFIG, remove_versions)
    before = (run / records.METRICS).read_bytes()
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert "dismax version 1 (since then, an odd batch" in err
    assert (run / records.METRICS).read_bytes() == before


def test_a_checkpoint_of_an_earlier_version_is_refused(run_main, tmp_path, monkeypatch):
    interrupted(run_main, monkeypatch, 2, *QUICK)
    run = run_folder(tmp_path)
    edit_config(run / records.LAST, remove_versions)
    (run / records.PREVIOUS).unlink(missing_ok=True)
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert "dismax version 1 (since then" in err


def test_records_of_two_versions_have_separate_rows(run, run_main, tmp_path, capsys):
    run.rename(tmp_path / "runs" / "old")
    edit_config(tmp_path / "runs" / "old" / records.METRICS, remove_versions)
    assert run_main(*QUICK)[0] == 0
    assert analyze.main(["--runs", str(tmp_path / "runs"), "--format", "markdown"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| DisMax")]
    assert [row.split("|")[1].strip() for row in rows if "(n=" in row] == [
        "DisMax (n=1)",
        "DisMax (version 1) (n=1)",
    ]


def test_records_of_two_versions_of_a_network_have_separate_tables(
    run, run_main, tmp_path, capsys, monkeypatch
):
    run.rename(tmp_path / "runs" / "old")
    monkeypatch.setitem(versions.CHANGES, "smallcnn", (versions.Change("it has another layer"),))
    assert run_main(*QUICK)[0] == 0
    assert analyze.main(["--runs", str(tmp_path / "runs")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.count("Digits 0-7, small CNN heldout protocol") == 2
    assert out.count("smallcnn version 1 (since then, it has another layer)") == 1


def test_detectors_of_two_versions_have_separate_rows(run, tmp_path, capsys):
    assert detect.main([str(run), "--scores", "energy", "--device", "cpu"]) == 0
    record = records.read_record(run / records.METRICS)
    later = {"energy": record["detectors"]["energy"] | {"version": 3}}
    other = record | {"config": record["config"] | {"seed": 2}, "detectors": later}
    (tmp_path / "runs" / "other").mkdir()
    records.write_json(tmp_path / "runs" / "other" / records.METRICS, other)
    capsys.readouterr()
    assert analyze.main(["--runs", str(tmp_path / "runs"), "--format", "csv"]) == 0
    out = capsys.readouterr().out
    assert ",Energy," in out
    assert ",Energy (version 3)," in out


def test_a_run_whose_images_would_be_prepared_differently_now_is_not_scored_again(
    run, capsys, monkeypatch
):
    monkeypatch.setattr(versions, "_parts", lambda config: {"resizing"})
    edit_config(run / records.METRICS, remove_versions)
    assert (
        detect.main([str(run), "--scores", "energy", "--device", "cpu"]) == 0
    )  # from saved logits
    capsys.readouterr()
    assert detect.main([str(run), "--scores", "knn", "--device", "cpu"]) == 2
    assert (
        "its images are prepared in another way now (resizing version 1" in capsys.readouterr().err
    )


@pytest.mark.parametrize("program", ["predict", "detect", "load"])
def test_every_program_refuses_a_network_that_would_compute_something_else(
    run, program, monkeypatch, capsys, tmp_path
):
    changes = (
        versions.Change("it has a stride elsewhere", other_function=True),
        versions.Change("it starts at 0"),
    )
    monkeypatch.setitem(versions.CHANGES, "smallcnn", changes)
    before = (run / records.METRICS).read_bytes()
    reason = "smallcnn version 1 (since then, it has a stride elsewhere; it starts at 0)"
    if program == "load":
        with pytest.raises(ValueError, match=f"{re.escape(reason)}.*train this network again"):
            Detector.load(run / records.MODEL)
        return
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    capsys.readouterr()
    if program == "predict":
        status = predict.main([str(run), str(tmp_path / "image.png")])
    else:
        status = detect.main([str(run), "--scores", "knn", "--device", "cpu"])
    assert status == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(err) == 1
    assert reason in err[0]
    assert (run / records.METRICS).read_bytes() == before


def test_an_old_wideresnet_is_refused_and_an_old_resnet_is_not(tmp_path):
    """WideResNet computes another function now. Only the initial weights of ResNet have changed."""
    for name, refused in (("wideresnet101", True), ("resnet10", False)):
        content = model_file_content(model=name)
        remove_versions(content["config"])
        del content["margin"]  # an earlier version wrote none
        archive.save(tmp_path / f"{name}.pt", content)
        if refused:
            with pytest.raises(
                ValueError, match="the stride is in a block's second 3×3 convolution"
            ):
                Detector.load(tmp_path / f"{name}.pt")
        else:
            Detector.load(tmp_path / f"{name}.pt")
