"""The detail tables, and the CSV: every score of every set."""

import statistics

import pandas as pd
import pytest

from reporting.details import DETAIL
from tests.reporting.tables import SETS, changed, first_table_of, printed


@pytest.mark.parametrize(("at", "title"), [("t1", "Energy"), ("calibrated", "Energy (at T = 1)")])
def test_a_detectors_row_names_its_temperature_if_the_table_has_another(runs, capsys, at, title):
    def change(record):
        record["scores_at"] = at
        sets = {source: dict.fromkeys(DETAIL, 0.5) for source, _, _ in SETS}
        record["detectors"] = {"energy": {"title": "Energy", "version": 1, "sets": sets}}

    changed(runs[0], change)
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "markdown", "--detail")
    rows = [
        line.split("|")[2].strip()
        for line in out[out.index("every score on") :].splitlines()
        if "Energy" in line or "MPS " in line
    ]
    assert rows.count(title) == len(SETS)
    assert "MPS" in rows


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_every_score_of_every_set_is_printed(runs, capsys, style):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", style, "--detail")
    assert out[out.index("every score on") :].count("MMLES") == 2 * len(SETS)
    assert out.count("DTACC") == len(SETS)


def test_the_table_of_aurocs_has_every_score_at_both_temperatures(runs, capsys):
    folder, written = runs
    half = dict.fromkeys(DETAIL, 0.5)

    def change(record):
        for entry in record["detection"].values():
            for scores in entry["scores"].values():
                scores["MDS"] = scores["MPS"] | half  # the same at both temperatures
        record["detectors"] = {
            "energy": {"title": "Energy", "sets": {source: half for source, _, _ in SETS}},
            "vim": {"title": "ViM", "not_applicable": "needs a linear head"},
        }

    changed(folder, change)
    _, out, _ = printed(capsys, folder, "--format", "markdown", "--detail", "--only", "SoftMax")
    heads, rows = first_table_of(out[out.index("AUROC of every score") :])
    assert heads == ["method", "score", "n", *(f"{title} AUROC %" for _, title, _ in SETS)]
    cells = {score: numbers for _, score, *numbers in rows}
    names = ["MPS, T = 1", "MPS, fitted T", "MMLES, T = 1", "MMLES, fitted T", "MDS", "Energy"]
    assert list(cells) == [*names, "ViM"]
    assert cells["MDS"] == cells["Energy"] == ["3", *["50.0±.0"] * len(SETS)]
    assert cells["ViM"] == ["0", *["n/a"] * len(SETS)]
    for at, name in (("t1", "MMLES, T = 1"), ("calibrated", "MMLES, fitted T")):
        values = [
            100 * record["detection"]["svhn"]["scores"][at]["MMLES"]["auroc"]
            for record in written[:3]
        ]
        mean, deviation = statistics.mean(values), statistics.stdev(values)
        assert cells[name][-1] == f"{mean:.1f}±{deviation:.1f}".replace("±0.", "±.")


def test_the_csv_holds_every_number(runs, tmp_path, capsys):
    folder, written = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", "csv")
    (tmp_path / "out.csv").write_text(out)
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == len(written) * len(SETS) * 2 * 2
    one = table[
        (table["method"] == "SoftMax")
        & (table["seed"] == 2)
        & (table["set"] == "SVHN")
        & (table["at"] == "t1")
    ]
    one = one.set_index("score").loc["MPS"]
    assert one["auroc"] == pytest.approx(
        written[1]["detection"]["svhn"]["scores"]["t1"]["MPS"]["auroc"]
    )
