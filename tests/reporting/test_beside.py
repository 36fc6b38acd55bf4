"""Published means beside ours: analyze.py --beside."""

import json

import pytest

from experiment import records
from reporting.beside import HEADS, read_published
from tests.common import ROOT
from tests.reporting.tables import printed, rows_of

SHIPPED = ROOT / "results" / "published.csv"
HEAD = (
    "data,network,method,accuracy,accuracy_std,near_auroc,near_auroc_std,far_auroc,far_auroc_std,"
    "source,date\n"
)
ROW = "cifar10,ResNet-18,MSP,95.06,0.30,88.03,0.25,90.73,0.43,https://example.org,2023-06-15\n"


@pytest.fixture
def grouped(runs):
    """The folder of the made-up runs, with a second near set."""
    folder, _ = runs
    for path in folder.rglob(records.METRICS):
        record = json.loads(path.read_text())
        record["detection"]["tinyimagenet_resize"]["role"] = "near"
        record["detection"]["svhn"]["role"] = "far"
        path.write_text(json.dumps(record))
    return folder


def tables_of(out):
    """Return heads and rows of the table of published means in Markdown."""
    return rows_of(out[out.index("beside published means") :])


def test_published_means_stand_below_ours_on_the_same_data(grouped, tmp_path, capsys):
    path = tmp_path / "published.csv"
    other = "mnist,LeNet,MSP,99,,90,,91,,https://example.org/b,2020\n"
    path.write_text(HEAD + ROW + other + ROW.replace("MSP,95.06,0.30", "KNN,,"))
    given = ("--runs", grouped, "--format", "markdown", "--no-detail", "--beside", path)
    status, out, err = printed(capsys, *given)
    assert (status, err) == (0, "")
    heads, rows = tables_of(out)
    assert heads == HEADS
    groups = rows_of(out[out.index("means of near and far sets") : out.index("published")])[1]
    ours = [row for row in rows if row[-1] == "these runs"]
    assert [f"{method}, {score}" for method, score, *_ in groups] == [row[0] for row in ours]
    assert [[row[3], row[5]] for row in groups] == [[row[4], row[5]] for row in ours]
    assert [row[2] for row in ours] == ["3"] * 4
    found = [json.loads(each.read_text()) for each in grouped.rglob(records.METRICS)]
    values = [
        100 * each["classification"]["test"]["t1"]["accuracy"]
        for each in found
        if each["titles"]["loss"] == "SoftMax"
    ]
    softmax = next(row for row in ours if row[0].startswith("SoftMax"))
    assert softmax[3].startswith(f"{sum(values) / 3:.1f}±")
    assert rows[len(ours) :] == [
        ["MSP", "ResNet-18", "", "95.1±.3", "88.0±.2", "90.7±.4", "[1]"],
        ["KNN", "ResNet-18", "", "", "88.0±.2", "90.7±.4", "[1]"],
    ]
    assert "[1] https://example.org (2023-06-15)\n" in out
    assert "example.org/b" not in out  # of another set
    path.write_text(HEAD + other)
    out = printed(capsys, *given)[1]
    assert len(tables_of(out)[1]) == 4
    assert "The file has no rows for CIFAR-10." in out


def test_the_shipped_results_have_a_source_and_a_date_each(grouped, capsys):
    table = read_published(SHIPPED)
    assert len(table) == 46
    assert table["source"].str.match(r"https://github\.com/Jingkang50/OpenOOD/blob/\w{40}/").all()
    assert not table.isna().any().any()
    msp = table[(table["data"] == "cifar10") & (table["method"] == "MSP")].iloc[0]
    assert (msp["accuracy"], msp["near_auroc"], msp["far_auroc"]) == (95.06, 88.03, 90.73)
    given = ("--runs", grouped, "--format", "markdown", "--no-detail", "--beside", SHIPPED)
    assert len(tables_of(printed(capsys, *given)[1])[1]) == 4 + 23


def test_runs_without_means_get_a_warning(runs, capsys):
    for path in runs[0].rglob(records.METRICS):
        record = json.loads(path.read_text())
        for entry in record["detection"].values():
            entry["role"] = "near"
        path.write_text(json.dumps(record))
    status, out, err = printed(capsys, runs[0], "--beside", SHIPPED)
    assert status == 0
    assert err.startswith("warning: --beside compares means of near and far sets, and no run has")
    assert "published" not in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("far_auroc,", "") + ROW, "lacks the column far_auroc: it needs data, "),
        (
            HEAD + ROW + ROW.replace("88.03", ""),
            "line 3: near_auroc is a number from 0 to 100, got",
        ),
        (
            HEAD + ROW.replace("90.73", "0.9O73"),
            "far_auroc is a number from 0 to 100, got '0.9O73'",
        ),
        (HEAD + ROW.replace("0.30", "-1"), "accuracy_std is a number from 0 to 100, got '-1'"),
        (HEAD + ROW.replace("95.06", "950.6"), "accuracy is a number from 0 to 100, got '950.6'"),
        (HEAD + ROW.replace("https://example.org", " "), "line 2: write a source"),
        (HEAD + ROW.replace("2023-06-15", ""), "line 2: write a date"),
        ("", "is no CSV file (No columns to parse from file)"),
        (HEAD + "a,b\n" + "x," * 30, "is no CSV file (Error tokenizing data"),
    ],
)
def test_a_damaged_file_is_an_error_in_one_line(grouped, tmp_path, capsys, text, message):
    path = tmp_path / "published.csv"
    path.write_text(text)
    status, out, err = printed(capsys, "--runs", grouped, "--beside", path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_missing_file_and_other_outputs_are_errors_in_one_line(grouped, tmp_path, capsys):
    for given, message in (
        (("--beside", tmp_path / "gone.csv"), "gone.csv"),
        (("--beside", SHIPPED, "--format", "csv"), "leave out --report or csv"),
        (("--beside", SHIPPED, "--report", tmp_path / "page"), "leave out --report or csv"),
    ):
        status, out, err = printed(capsys, "--runs", grouped, *given)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err
    assert not (tmp_path / "page").exists()
