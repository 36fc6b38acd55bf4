"""The tables of calibration and of failures, of real runs and of records of earlier versions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import detect
from experiment import search
from reporting.classification import FAILURES_TITLE, classification_tables
from reporting.runs import method_of
from reporting.text_table import terminal_table
from tests.reporting.tables import changed, printed
from utils.failures import aurc


def named(records):
    """Return the name of each record's row, and the record."""
    return [(method_of(record), record) for record in records]


def tables_of(records):
    """Return the tables of records by title, each a table with the first two columns as index."""
    return {
        table.title: pd.DataFrame(table.rows, columns=table.heads).set_index(table.heads[:2])
        for table in classification_tables(named(records))
    }


def test_the_tables_of_real_runs_hold_the_numbers_of_their_records(outcomes):
    tables = tables_of([run.record for run in outcomes])
    calibration, failures = tables.values()
    assert list(tables) == ["Calibration of the test images", FAILURES_TITLE]
    for run in outcomes:
        record, method = run.record, method_of(run.record)
        if (calibration.loc[method, "n"] != "1").any():
            continue  # a mean of two runs
        found = record["classification"]["test"]["calibrated"]
        row = calibration.loc[(method, "fitted T")]
        assert row["adaptive ECE"] == f"{found['adaptive_ece']:.4f}".removeprefix("0")
        assert row["class-wise ECE"] == f"{found['class_wise_ece']:.4f}".removeprefix("0")
        row = failures.loc[(method, record["score"])]
        area = aurc(run.scores["test"], ~run.correct)
        assert float(row["AURC %"]) == pytest.approx(100 * area, abs=0.0051)
        areas = [
            aurc(
                np.concatenate([run.scores["test"], run.scores[source]]),
                np.concatenate([~run.correct, np.ones(len(run.scores[source]), bool)]),
            )
            for source in ("photos", "noise")
        ]
        assert float(row["far-OOD AURC %"]) == pytest.approx(100 * np.mean(areas), abs=0.0051)


def test_detectors_and_seeds_have_rows(finished, capsys):
    runs = finished / "digits" / "smallcnn" / "softmax"
    assert detect.main([str(runs), "--scores", "energy", "--device", "cpu"]) == 0
    records = list(search.find_records(runs)[0].values())
    failures = tables_of(records)[FAILURES_TITLE]
    assert failures.loc[("SoftMax", "Energy (at T = 1)"), "n"] == "2"
    auroc = [
        100 * record["detectors"]["energy"]["misclassification"]["auroc"] for record in records
    ]
    mean, _ = failures.loc[("SoftMax", "Energy (at T = 1)"), "AUROC-f %"].split("±")
    assert float(mean) == pytest.approx(np.mean(auroc), abs=0.051)


def test_the_csv_has_columns_of_calibration_and_failures(finished, tmp_path, capsys):
    _, out, _ = printed(capsys, "--runs", finished, "--format", "csv")
    (tmp_path / "out.csv").write_text(out)
    table = pd.read_csv(tmp_path / "out.csv")
    for name in ("test_adaptive_ece", "test_class_wise_ece", "test_nll", "aurc"):
        assert table[name].between(0, 10).all(), name
    for name in ("misclassification_aurc", "misclassification_auroc", "misclassification_fpr95"):
        assert table[name].between(0, 1).all(), name


def test_records_of_earlier_versions_have_no_table_of_failures(runs, capsys):
    folder, written = runs
    tables = tables_of(written)
    assert list(tables) == ["Calibration of the test images"]
    assert set(tables["Calibration of the test images"]["adaptive ECE"]) == {"n/a"}
    _, out, _ = printed(capsys, "--runs", folder, "--format", "csv")
    assert "misclassification" not in out


def test_a_run_without_wrong_answers_has_an_area_only(runs):
    folder, _ = runs
    found = {"aurc": 0.0, "auroc": None, "fpr95": None}

    def change(record):
        record["misclassification"] = {"t1": {"MPS": found}, "calibrated": {"MPS": found}}

    changed(folder, change)
    failures = tables_of(search.find_records(folder)[0].values())[FAILURES_TITLE]
    row = failures.loc[("SoftMax", "MPS")]
    assert row[["AURC %", "AUROC-f %", "FPR@95-f %"]].tolist() == [".00±.00", "n/a", "n/a"]
    assert row["near-OOD AURC %"] == "n/a"  # the sets lack it


def test_the_tables_fit_80_columns(outcomes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for table in classification_tables(named(run.record for run in outcomes)):
        wide = [
            [cell if column < 3 else "99.99±9.99" for column, cell in enumerate(row)]
            for row in table.rows
        ]
        lines = terminal_table(replace(table, rows=wide)).splitlines()
        assert max(map(len, lines)) <= 80
