"""The detail tables, and the CSV: every score of every set."""

import pandas as pd
import pytest

from reporting.details import DETAIL
from tests.reporting.tables import SETS, changed, printed


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
        for line in out.splitlines()
        if "Energy" in line or "MPS " in line
    ]
    assert rows.count(title) == len(SETS)
    assert "MPS" in rows


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_every_score_of_every_set_is_printed(runs, capsys, style):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", style, "--detail")
    assert out[out.index("every score") :].count("MMLES") == 2 * len(SETS)
    assert out.count("DTACC") == len(SETS)


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
