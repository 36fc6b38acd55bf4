"""reporting/html_table.py: the CSV of a table of the page."""

import base64
import io

import pandas as pd

from reporting.html_table import csv_of, csv_url, file_name
from reporting.table import BEST, Table


def frame(table):
    """The table's CSV, as pandas reads it from its URL."""
    return pd.read_csv(io.BytesIO(base64.b64decode(csv_url(table).partition("base64,")[2])))


def test_means_and_deviations_become_numbers_in_columns_of_their_own():
    table = Table(
        "",
        ["method", "ACC %", "n"],
        [["SoftMax", f"98.2±.2{BEST}", "3"], ["DisMax", "97.0", "1"], ["IsoMax", "n/a", "0"]],
    )
    read = frame(table)
    assert list(read) == ["method", "ACC %", "ACC % deviation", "n"]
    assert read["ACC %"].tolist()[:2] == [98.2, 97.0]
    assert read["ACC % deviation"][0] == 0.2
    assert read["ACC % deviation"].isna().tolist() == [False, True, True]
    assert read["n"].tolist() == [3, 1, 0]


def test_a_row_below_another_names_both():
    rows = [["DisMax", "98.2"], ["· paper", "98.0"], ["· differ.", "+0.2"]]
    read = frame(Table("", ["method", "ACC %"], rows))
    assert read["method"].tolist() == ["DisMax", "DisMax · paper", "DisMax · differ."]
    assert read["ACC %"].tolist() == [98.2, 98.0, 0.2]


def test_a_name_is_no_formula_and_a_negative_number_stays_one():
    table = Table("", ["=1+1", "x"], [["@name, é", "-0.5"]])
    assert csv_of(table).splitlines() == ["'=1+1,x", '"\'@name, é",-0.5']


def test_a_file_name_has_no_signs_of_a_path():
    assert file_name("../CIFAR-10, é", "main table") == "cifar-10-main-table.csv"
    assert file_name("数字") == "table.csv"
