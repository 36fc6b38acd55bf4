"""reporting/tables.py: numbers as the paper prints them, and tables that fit the terminal."""

import math

import pytest
from wcwidth import wcswidth

from reporting.bold import among_best
from reporting.printing import print_table
from reporting.tables import mean_and_deviation, number, signed
from tests.common import ROOT
from tests.reporting.tables import printed


@pytest.mark.parametrize(
    ("mean", "deviation", "digits", "text"),
    [
        (95.23, 0.12, 1, "95.2±.1"),
        (95.23, 1.26, 1, "95.2±1.3"),
        (0.23, 0.12, 1, "0.2±.1"),
        (0.00452, 0.0021, 4, ".0045±.0021"),
        (98.6, math.nan, 0, "99"),
        (math.nan, 1.0, 1, ""),
    ],
)
def test_a_number_has_the_papers_form(mean, deviation, digits, text):
    assert number(mean, deviation, digits) == text


def test_the_mean_and_deviation_are_of_the_values_that_are_not_nan():
    mean, deviation = mean_and_deviation([1.0, math.nan, 2.0, 6.0])
    assert mean == 3
    assert deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert [math.isnan(value) for value in mean_and_deviation([5.0, math.nan])] == [False, True]
    assert all(map(math.isnan, mean_and_deviation([math.nan])))
    mean, deviation = mean_and_deviation([math.inf, 1.0])
    assert mean == math.inf
    assert math.isnan(deviation)


def test_a_difference_has_a_sign():
    assert [signed(value, 1) for value in (1, -0.25, math.nan)] == ["+1.0", "-0.2", ""]


@pytest.mark.parametrize(
    ("lower_is_better", "best"), [(False, {"a", "b"}), (True, {"c"})], ids=["highest", "lowest"]
)
def test_the_best_are_within_the_best_ones_deviation(lower_is_better, best):
    cells = {"a": (9.0, 2.0), "b": (7.0, 0.0), "c": (6.0, 0.5), "d": (math.nan, 1.0)}
    assert among_best(cells, lower_is_better) == best


def test_a_single_method_is_not_the_best():
    assert among_best({"a": (9.0, 2.0), "b": (math.nan, math.nan)}, False) == set()


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


def test_a_long_word_of_a_head_is_broken_where_a_reader_expects_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    heads = ["method", "TinyImageNet-32 AUROC %", "SVHN-crops", "photographs", "CIFAR-100"]
    print_table([["x", "1", "2", "3", "4"]], heads, "table")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[:4]]
    assert lines[:2] == [
        ["method", "TinyImage", "SVHN-", "photographs", "CIFAR-100"],
        ["Net-32", "crops"],
    ]


def test_labels_take_the_room_that_the_other_columns_leave(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    label = "DisMax without FPR, DenseNet-BC-100, precision bf16 (n=3)"
    print_table([[label, "95.2±.1"]], ["method", "ACC"], "table")
    assert capsys.readouterr().out.splitlines()[2].startswith(f"{label} ")
    print_table([[label, *["95.2±.1"] * 6]], ["method", *["ACC"] * 6], "table")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_wide_terminal_shows_labels_in_one_line(runs, capsys, monkeypatch):
    folder, _ = runs
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = printed(capsys, "--runs", folder, "--paper", "--detail")
    assert max(map(len, out.splitlines())) <= 120
    assert any(line.startswith("DisMax without FPR (n=3) ") for line in out.splitlines())


def test_wide_letters_take_two_places(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    print_table([["日本語", "95.2"], ["ours", "95.1"]], ["method", "ACC"], "table")
    first, second = capsys.readouterr().out.splitlines()[2:4]
    assert wcswidth(first[: first.index("95.2")]) == second.index("95.1")
