"""reporting/text_table.py: tables that fit the terminal."""

import pytest
from wcwidth import wcswidth

from reporting.table import Table
from reporting.text_table import terminal_table
from tests.common import ROOT
from tests.reporting.tables import printed


def test_the_terminal_table_fits_80_columns(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--paper", "--detail")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("options", [[], ["--detail"], ["--group-by", "data"]], ids=str)
def test_the_tables_of_a_real_study_fit_80_columns(capsys, monkeypatch, options):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = printed(capsys, ROOT / "results" / "cifar10_small", *options)
    assert max(map(len, out.splitlines())) <= 80


def test_a_long_word_of_a_head_is_broken_where_a_reader_expects_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    heads = ["method", "TinyImageNet-32 AUROC %", "SVHN-crops", "photographs", "CIFAR-100"]
    table = Table("", heads, [["x", "1", "2", "3", "4"]])
    lines = [line.split() for line in terminal_table(table).splitlines()[:4]]
    assert lines[:2] == [
        ["method", "TinyImage", "SVHN-", "photographs", "CIFAR-100"],
        ["Net-32", "crops"],
    ]


def test_labels_take_the_room_that_the_other_columns_leave(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    label = "DisMax without FPR, DenseNet-BC-100, precision bf16 (n=3)"
    narrow = Table("", ["method", "ACC"], [[label, "95.2±.1"]])
    assert terminal_table(narrow).splitlines()[2].startswith(f"{label} ")
    wide = Table("", ["method", *["ACC"] * 6], [[label, *["95.2±.1"] * 6]])
    assert max(map(len, terminal_table(wide).splitlines())) <= 80


def test_a_wide_terminal_shows_labels_in_one_line(runs, capsys, monkeypatch):
    folder, _ = runs
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = printed(capsys, "--runs", folder, "--paper", "--detail")
    assert max(map(len, out.splitlines())) <= 120
    assert any(line.startswith("DisMax without FPR (n=3) ") for line in out.splitlines())


def test_wide_letters_take_two_places(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table = Table("", ["method", "ACC"], [["日本語", "95.2"], ["ours", "95.1"]])
    first, second = terminal_table(table).splitlines()[2:4]
    assert wcswidth(first[: first.index("95.2")]) == second.index("95.1")
