"""reporting/columns.py: what a column is, and which columns a table has."""

import pandas as pd
import pytest

from reporting import columns
from reporting.columns import COLUMNS, Column, columns_of, set_columns
from reporting.paper import PAPER
from tests.reporting.tables import SETS, printed, rows_of

PAPERS_TITLES = [
    "Eff %",
    "ACC %",
    "ECE",
    "near AUPR %",
    "Tiny- IN AUROC %",
    "LSUN AUROC %",
    "SVHN AUPR %",
]


def record(*sets):
    """What `columns_of` reads of a record."""
    return {"detection": {source: {"title": title, "role": role} for source, title, role in sets}}


def titles_of(table):
    return [column.title for column in table]


def test_without_runs_the_columns_are_the_papers():
    assert titles_of(columns_of([])) == PAPERS_TITLES


def test_a_near_set_has_a_column_of_mps_too():
    titles = titles_of(columns_of([record(*SETS)]))
    assert titles == [*PAPERS_TITLES[:4], "near [MPS] AUPR %", *PAPERS_TITLES[4:]]


def test_every_column_of_the_papers_table_is_read():
    table = pd.read_csv(PAPER)
    numbers = {name for name in table.columns[3:] if not name.endswith("_std")}
    assert {column.paper for column in columns_of([])} == numbers


@pytest.mark.parametrize(
    ("role", "title", "paper"),
    [
        ("near", "x AUPR %", ""),
        ("far", "x AUROC %", "lsun_auroc"),
        ("very_far", "x AUPR %", ""),
    ],
)
def test_the_metric_goes_by_the_role_and_the_papers_number_by_the_metric(role, title, paper):
    column = set_columns("lsun_resize", "x", role)[0]
    assert (column.title, column.paper) == (title, paper)


def test_sets_of_one_title_have_different_columns():
    sets = (("/a/test", "test", "far"), ("/b/test", "test", "far"))
    titles = titles_of(columns_of([record(*sets)]))
    assert titles[len(COLUMNS) :] == ["a/test AUROC %", "b/test AUROC %"]


def test_one_more_column_is_printed(runs, capsys, monkeypatch):
    seed = Column("seed", lambda row: row.record["config"]["seed"], digits=2, lower_is_better=True)
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, seed))
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "markdown")
    heads, rows = rows_of(out)
    cells = {row[0]: row[heads.index("seed")] for row in rows}
    assert cells["SoftMax (n=3)"] == "2.00±1.00"
    assert cells["IsoMax+ (no runs)"] == ""


def test_a_column_without_a_number_is_not_printed(runs, capsys, monkeypatch):
    empty = Column("empty", lambda row: float("nan"))
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, empty))
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "markdown")
    assert "empty" not in rows_of(out)[0]
