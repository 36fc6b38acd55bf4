"""A run's folder: whose run it holds, whether that is finished, and damaged files in it."""

import pytest

from experiment import folder, records
from experiment.config import RunConfig, identity_of
from tests.common import QUICK, interrupted, run_folder


def contents(path):
    """Path → bytes of all files below a folder that have a suffix."""
    return {file: file.read_bytes() for file in path.rglob("*.*")}


def test_the_precision_auto_becomes_that_of_the_run_in_the_folder(tmp_path):
    config = RunConfig(runs=tmp_path)
    assert folder.with_begun_precision(config).precision == "auto"
    config.folder.mkdir(parents=True)
    begun = config.as_json() | {"precision": "bf16"}
    records.write_json(config.folder / records.CONFIG, begun)
    assert folder.with_begun_precision(config).precision == "bf16"


def test_an_option_that_is_not_part_of_the_identity_makes_no_difference():
    config = RunConfig().as_json()
    assert folder.differences(config | {"device": "cuda"}, identity_of(config)) == []


def test_a_difference_names_both_values():
    config = RunConfig().as_json()
    differences = folder.differences(config | {"epochs": 3}, identity_of(config))
    assert differences == ["epochs 3 there, 100 here"]


@pytest.mark.parametrize("config", [None, [], {"versions": 3}])
def test_a_checkpoint_with_a_damaged_configuration_is_of_another_run(config):
    differences = folder.differences(config, {"versions": {}})
    assert len(differences) == 1
    assert differences[0].startswith("its configuration is damaged (")


def test_temporary_files_of_killed_processes_are_deleted(tmp_path):
    for name in (f".{records.LAST}.123", f".{records.METRICS}.456", records.METRICS, "notes.txt"):
        (tmp_path / name).touch()
    folder.delete_temporary_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {records.METRICS, "notes.txt"}


def test_a_finished_run_is_skipped(run_main, tmp_path):
    run_main(*QUICK)
    before = contents(tmp_path / "runs")
    status, out, _ = run_main(*QUICK)
    assert status == 0
    assert "is finished: skipped" in out
    assert contents(tmp_path / "runs") == before


def test_a_folder_with_another_run_is_refused_and_stays_unchanged(run_main, tmp_path):
    run_main(*QUICK)
    before = contents(tmp_path / "runs")
    status, _, err = run_main("--epochs", "4")
    assert status == 2
    assert "another run (epochs 3 there, 4 here)" in err
    assert "--runs" in err
    assert contents(tmp_path / "runs") == before


def test_results_without_their_configuration_are_refused(run_main, tmp_path, monkeypatch):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    (run_folder(tmp_path) / records.CONFIG).unlink()
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert "without their config.json" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "auto"),
        ("precision", ["fp32"]),
        ("epochs", "3"),
        ("checkpoint_every", 5),
        ("versions", None),
        ("versions", {"dismax": None}),
    ],
)
def test_a_configuration_with_an_impossible_value_is_named_and_stays(
    run_main, tmp_path, name, value
):
    path = run_folder(tmp_path) / records.CONFIG
    path.parent.mkdir(parents=True)
    config = RunConfig(epochs=3, precision="fp32").as_json()
    records.write_json(path, config | {name: value})
    before = contents(tmp_path)
    status, _, err = run_main(*QUICK)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{path} is damaged inside ({name}" in err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", ["[]", "3", "{}"])
def test_a_file_that_is_no_configuration_is_named(run_main, tmp_path, content):
    path = run_folder(tmp_path) / records.CONFIG
    path.parent.mkdir(parents=True)
    path.write_text(content)
    status, _, err = run_main(*QUICK)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{path} is damaged inside (it " in err


@pytest.mark.parametrize("name", [records.CONFIG, records.METRICS, records.LAST])
def test_a_damaged_file_in_the_folder_is_named_and_stays(run_main, tmp_path, name):
    run_main(*QUICK)
    path = run_folder(tmp_path) / name
    if name == records.LAST:
        path.with_name(records.METRICS).unlink()
        path.write_bytes(b"PK cut short")
    else:
        path.write_text(path.read_text()[:50])
    before = path.read_bytes()
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert f"{path} is " in err
    assert "delete it" in err
    assert err.count("\n") == 1
    assert path.read_bytes() == before
