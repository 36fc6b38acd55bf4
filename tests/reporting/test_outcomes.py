"""reporting/outcomes.py: missing and damaged files of a run are noted, and the rest is shown."""

import shutil

import pytest

from experiment import records
from reporting import report
from reporting.outcomes import load_history, load_outcome
from tests.common import in_time, special
from tests.reporting.tables import altered


@pytest.mark.parametrize(
    "log", ["", '{"a": 1}\n' * 3, "[1]\n" * 3, '{"train_accuracy": null}\n' * 3, "{"]
)
def test_a_damaged_log_is_noted(finished, tmp_path, log):
    run = shutil.copytree(finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "1")
    (run / records.EPOCHS).write_text(log)
    notes = []
    assert (
        report._load_all(
            {run: records.read_record(run / records.METRICS)},
            load_history,
            "the curves lack",
            notes,
        )
        == {}
    )
    (note,) = notes
    assert note.startswith("the curves lack DisMax 1: ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("temperature",), {}),
        (("temperature", "value"), None),
        (("temperature", "value"), 0),
        (("classification", "test", "t1", "ece"), None),
        (("classification", "test", "n"), 5),
        (("detection", "noise", "n"), 5),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_damaged_record_is_noted(finished, path, value):
    run = finished / "digits" / "smallcnn" / "dismax" / "1"
    record, notes = records.read_record(run / records.METRICS), []
    assert len(report._load_all({run: record}, load_outcome, "", notes)["DisMax"]) == 1
    assert notes == []
    assert (
        report._load_all(
            {run: altered(record, *path, value=value)}, load_outcome, "the figures lack", notes
        )
        == {}
    )
    (note,) = notes
    assert note.startswith("the figures lack DisMax 1: ")


@pytest.mark.parametrize("name", [records.PREDICTIONS, records.EPOCHS])
def test_a_pipe_in_the_place_of_a_kept_file_is_noted(finished, tmp_path, name):
    run = shutil.copytree(finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "1")
    special(run / name, "pipe")
    load, notes = {records.PREDICTIONS: load_outcome, records.EPOCHS: load_history}[name], []
    with in_time():
        assert (
            report._load_all({run: records.read_record(run / records.METRICS)}, load, "", notes)
            == {}
        )
    assert f"{name} is no regular file" in notes[0]


def test_predictions_of_another_run_are_noticed(finished, tmp_path):
    runs, notes = finished / "digits" / "smallcnn", []
    run = shutil.copytree(runs / "isomax" / "1", tmp_path / "1")
    shutil.copy(runs / "dismax" / "1" / records.PREDICTIONS, run / records.PREDICTIONS)
    assert (
        report._load_all({run: records.read_record(run / records.METRICS)}, load_outcome, "", notes)
        == {}
    )
    assert "is not what its record was made of" in notes[0]
