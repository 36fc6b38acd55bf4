"""The main table: means and deviations recomputed, and the paper's numbers beside them."""

import json
import math
import statistics

import pandas as pd

from experiment import records
from reporting.aggregation import numbers_of_runs
from reporting.columns import Column, RunRow
from reporting.details import DETAIL
from reporting.paper import PAPER
from tests.reporting.tables import SETS, changed, printed, rows_of

AS_IN_THE_PAPER = ("--bold", "paper")


def test_the_table_is_mean_deviation_paper_and_difference(runs, capsys):
    folder, written = runs
    status, out, _ = printed(capsys, "--runs", folder, "--format", "markdown")
    assert status == 0
    heads, rows = rows_of(out)
    # Without the efficiency, which no run measures.
    heads, rows = heads[:1] + heads[2:], [row[:1] + row[2:] for row in rows]
    assert heads[1:] == [
        "ACC %",
        "ECE",
        "near AUPR %",
        "near [MPS] AUPR %",
        "Tiny- IN AUROC %",
        "LSUN AUROC %",
        "SVHN AUPR %",
    ]
    at = next(index for index, row in enumerate(rows) if row[0] == "DisMax without FPR (n=3)")
    ours, paper, difference = ([cell.replace("*", "") for cell in row] for row in rows[at : at + 3])
    mine = [record for record in written if record["titles"]["loss"] == "DisMax without FPR"]

    def expected(values, scale=100, digits=1):
        mean, spread = scale * statistics.mean(values), scale * statistics.stdev(values)
        return f"{mean:.{digits}f}±{spread:.{digits}f}".replace("±0.", "±.")

    assert ours[1] == expected(
        [record["classification"]["test"]["t1"]["accuracy"] for record in mine]
    )
    assert (
        ours[2]
        == expected(
            [record["classification"]["test"]["calibrated"]["ece"] for record in mine], 1, 4
        )[1:]
    )
    columns = (
        ("cifar100", "MMLES", "aupr_out"),
        ("cifar100", "MPS", "aupr_out"),
        ("tinyimagenet_resize", "MMLES", "auroc"),
    )
    columns += (("lsun_resize", "MMLES", "auroc"), ("svhn", "MMLES", "aupr_out"))
    for cell, (source, score, metric) in zip(ours[3:], columns, strict=True):
        assert cell == expected(
            [record["detection"][source]["scores"]["t1"][score][metric] for record in mine]
        )
    assert paper == [
        "· paper",
        "95.1±.1",
        ".0045±.0021",
        "90.0±.2",
        "90.0±.2",
        "98.0±.5",
        "98.4±.3",
        "99.9±.1",
    ]
    accuracy = 100 * statistics.mean(
        record["classification"]["test"]["t1"]["accuracy"] for record in mine
    )
    assert difference[1] == f"{accuracy - 95.1:+.1f}"


def test_a_row_of_the_paper_without_runs_is_marked(runs, capsys):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown")
    labels = [row[0] for row in rows_of(out)[1]]
    assert "IsoMax+ (no runs)" in labels
    assert "Scaled Cosine (no runs)" in labels


def test_with_bold_paper_means_within_the_best_ones_deviation_are_bold(runs, capsys):
    folder, _ = runs
    accuracies = iter((0.90, 0.92, 0.94))  # 92 ± 2
    for loss, each in (("SoftMax", accuracies), ("DisMax without FPR", iter((0.9001,) * 3))):

        def change(record, each=each):
            record["classification"]["test"]["t1"]["accuracy"] = next(each)

        changed(folder, change, loss)

    def bold():
        _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", *AS_IN_THE_PAPER)
        heads, rows = rows_of(out)
        return {row[0]: row[heads.index("ACC %")] for row in rows if "(n=" in row[0]}

    assert bold() == {"SoftMax (n=3)": "**92.0±2.0**", "DisMax without FPR (n=3)": "**90.0±.0**"}
    # 92 ± 0.
    changed(folder, lambda record: record["classification"]["test"]["t1"].update(accuracy=0.92))
    assert bold() == {"SoftMax (n=3)": "**92.0±.0**", "DisMax without FPR (n=3)": "90.0±.0"}
    _, out, _ = printed(capsys, "--runs", folder, "--format", "table", *AS_IN_THE_PAPER)
    assert "92.0±.0*" in out
    assert "90.0±.0 " in out
    _, out, _ = printed(capsys, "--runs", folder, "--format", "latex", *AS_IN_THE_PAPER)
    assert r"\textbf{92} & \textbf{.0}{\scriptsize$\pm$.0}" in out


def test_the_lowest_calibration_error_is_bold(runs, capsys):
    folder, _ = runs
    changed(folder, lambda record: record["classification"]["test"]["calibrated"].update(ece=0.001))
    changed(
        folder,
        lambda record: record["classification"]["test"]["calibrated"].update(ece=0.002),
        "DisMax without FPR",
    )
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", *AS_IN_THE_PAPER)
    heads, rows = rows_of(out)
    ece = {row[0]: row[heads.index("ECE")] for row in rows}
    assert ece["SoftMax (n=3)"] == "**.0010±.0000**"
    assert ece["DisMax without FPR (n=3)"] == ".0020±.0000"


def test_the_papers_tables_without_runs_have_empty_cells_for_ours(tmp_path, capsys):
    status, out, _ = printed(capsys, "--runs", tmp_path, "--paper", "--format", "markdown")
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("|")]
    table = pd.read_csv(PAPER)
    assert (
        sum("(no runs)" in line for line in lines)
        == sum("· paper" in line for line in lines)
        == len(table)
    )
    assert all(
        set(line.split("(no runs)")[1]) <= set("| ") for line in lines if "(no runs)" in line
    )
    deep = next(lines[at + 1] for at, line in enumerate(lines) if "Deep Ensemble (no runs)" in line)
    row = table[(table["method"] == "Deep Ensemble") & (table["data"] == "cifar10")].iloc[0]
    cells = [cell.strip(" *") for cell in deep.strip("|").split("|")]
    assert cells[1:3] == [
        f"{row['efficiency']:.0f}",
        f"{row['acc']}±{row['acc_std']}".replace("±0.", "±."),
    ]
    assert cells[5:7] == ["", ""]


def test_an_ensemble_has_the_papers_row_and_its_number_of_members(runs, capsys):
    folder, _ = runs

    def change(record):
        record["titles"]["loss"], record["members"] = "Deep Ensemble", [1, 2, 3]
        record["config"]["seed"] = f"{record['config']['seed']}+4+5"
        record["config"]["model"], record["titles"]["model"] = "wideresnet2810", "WideResNet-28-10"

    changed(folder, change)
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown")
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")]
    at = rows.index("Deep Ensemble of 3 (n=3)")
    assert rows[at + 1 : at + 3] == ["· paper", "· differ."]
    assert "Deep Ensemble (no runs)" not in rows


def test_preprocessed_inputs_have_the_papers_row_and_a_measured_efficiency(runs, capsys):
    folder, _ = runs
    values = dict.fromkeys(DETAIL, 0.5)

    def change(record):
        record["titles"]["loss"] = "GODIN"
        sets = {source: values for source, _, _ in SETS}
        refused = {"title": "ViM", "not_applicable": "needs a linear head"}
        record["detectors"] = {
            "preprocessing": {"title": "own, perturbed", "version": 2, "sets": sets},
            "vim": refused,
        }

    changed(folder, change)
    (folder / "efficiency.json").write_text(
        json.dumps(
            {
                "rows": [
                    {
                        "network": "DenseNet-BC-100",
                        "method": "GODIN, preprocessing",
                        "efficiency": 27.3,
                    }
                ]
            }
        )
    )
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--detail")
    heads, rows = rows_of(out)
    at = next(index for index, row in enumerate(rows) if row[0] == "GODIN, preprocessing (n=3)")
    ours, paper, gap = (dict(zip(heads, row, strict=True)) for row in rows[at : at + 3])
    assert (ours["Eff %"], paper["Eff %"], gap["Eff %"]) == ("27", "26", "+1")
    assert ours["LSUN AUROC %"] == "50.0±.0"
    assert gap["LSUN AUROC %"] == "-49.4"
    detail = [line for line in out.splitlines() if "ViM" in line]
    assert len(detail) == 1 + len(SETS)  # the table of AUROCs, and each set's
    assert all(line.count("n/a") == len(DETAIL) and "| 0 " in line for line in detail[1:])
    (folder / "efficiency.json").write_text("{}")
    status, _, err = printed(capsys, "--runs", folder)
    assert status == 2
    assert "efficiency.json is damaged" in err


def test_a_column_of_another_metric_has_no_number_of_the_paper(runs, capsys):
    folder, _ = runs
    for path in folder.rglob(records.METRICS):
        record = records.read_record(path)
        record["detection"]["cifar100"]["role"], record["detection"]["svhn"]["role"] = "far", "near"
        path.write_text(json.dumps(record))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown")
    heads, rows = rows_of(out)
    paper = dict(zip(heads[1:], [cell.replace("*", "") for cell in rows[1][1:]], strict=True))
    assert paper["CIFAR-100 AUROC %"] == ""
    assert paper["SVHN AUPR %"] == "93.7±3.3"


def test_the_papers_table_is_complete():
    table = pd.read_csv(PAPER)
    assert len(table) == 33
    assert table.groupby(["data", "network"]).ngroups == 6
    assert not table["acc"].isna().any()


def test_a_record_without_a_columns_number_has_an_empty_cell():
    column = Column("New", lambda row: row.record["new"])
    old = RunRow("old", {}, math.nan, {}, {})
    new = RunRow("new", {"new": 2.0}, math.nan, {}, {})
    numbers = numbers_of_runs([old, new], [column])
    assert math.isnan(numbers["old"]["New"][0])
    assert numbers["new"]["New"][0] == 2.0
