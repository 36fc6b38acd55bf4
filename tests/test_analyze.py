"""The tables: means and deviations recomputed, the paper's numbers beside them, and damaged records left out by name."""

import copy
import json
import statistics

import numpy as np
import pandas as pd
import pytest

import analyze
from utils import records
from utils.aggregation import DETAIL
from utils.paper import PAPER

SETS = (("cifar100", "CIFAR-100", "near"), ("tinyimagenet_resize", "TinyImageNet-resize", "far"))
SETS += (("lsun_resize", "LSUN-resize", "far"), ("svhn", "SVHN", "very_far"))


@pytest.fixture
def runs(tmp_path):
    """Records as main.py writes them, of made-up numbers: three seeds of two losses on CIFAR-10 with DenseNet-BC-100."""
    rng = np.random.default_rng(0)
    written = []
    for loss in ("SoftMax", "DisMax without FPR"):
        for seed in (1, 2, 3):

            def metrics(_=None):
                return {
                    name: float(rng.uniform(0.9, 0.95))
                    for name in ("auroc", "aupr_in", "aupr_out", "tnr95", "fpr95_in", "fpr95_out", "dtacc")
                }

            def scores():
                return {at: {name: metrics() for name in ("MPS", "MMLES")} for at in ("t1", "calibrated")}

            record = {
                "format": records.FORMAT,
                "config": {"data": "cifar10", "protocol": "paper", "recipe": "paper", "epochs": 300, "batch_size": 64, "seed": seed}
                | {
                    "model": "densenetbc100",
                    "loss": loss,
                    "runs": "runs",
                    "precision": "fp32",
                    "limit_train": None,
                    "limit_eval": None,
                    "ood": [],
                },
                "titles": {"data": "CIFAR-10", "model": "DenseNet-BC-100", "loss": loss},
                "score": "MPS" if loss == "SoftMax" else "MMLES",
                "scores_at": "t1",
                "classification": {
                    "test": {
                        at: {"accuracy": float(rng.uniform(0.9, 0.95)), "ece": 0.01 * rng.uniform()} for at in ("t1", "calibrated")
                    }
                },
                "detection": {source: {"title": title, "role": role, "scores": scores()} for source, title, role in SETS},
            }
            path = tmp_path / loss / str(seed) / records.METRICS
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(record))
            written.append(record)
    return tmp_path, written


def printed(capsys, *arguments):
    status = analyze.main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return status, out, err


def rows_of(out):
    """A markdown table's rows: first cell → the others."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    return lines[0], lines[2:]


def test_the_table_is_mean_deviation_paper_and_difference(runs, capsys):
    folder, written = runs
    status, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert status == 0
    heads, rows = rows_of(out)
    heads, rows = heads[:1] + heads[2:], [row[:1] + row[2:] for row in rows]  # without the efficiency, which no run measures
    assert heads[1:] == ["ACC %", "ECE", "near AUPR %", "near [MPS] AUPR %", "Tiny- IN AUROC %", "LSUN AUROC %", "SVHN AUPR %"]
    at = next(index for index, row in enumerate(rows) if row[0] == "DisMax without FPR (n=3)")
    ours, paper, difference = ([cell.replace("*", "") for cell in row] for row in rows[at : at + 3])
    mine = [record for record in written if record["titles"]["loss"] == "DisMax without FPR"]

    def expected(values, scale=100, digits=1):
        return f"{scale * statistics.mean(values):.{digits}f}±{scale * statistics.stdev(values):.{digits}f}".replace("±0.", "±.")

    assert ours[1] == expected([record["classification"]["test"]["t1"]["accuracy"] for record in mine])
    assert ours[2] == expected([record["classification"]["test"]["calibrated"]["ece"] for record in mine], 1, 4)[1:]
    columns = (("cifar100", "MMLES", "aupr_out"), ("cifar100", "MPS", "aupr_out"), ("tinyimagenet_resize", "MMLES", "auroc"))
    columns += (("lsun_resize", "MMLES", "auroc"), ("svhn", "MMLES", "aupr_out"))
    for cell, (source, score, metric) in zip(ours[3:], columns, strict=True):
        assert cell == expected([record["detection"][source]["scores"]["t1"][score][metric] for record in mine])
    assert paper == ["· paper", "95.1±.1", ".0045±.0021", "90.0±.2", "90.0±.2", "98.0±.5", "98.4±.3", "99.9±.1"]
    accuracy = 100 * statistics.mean(record["classification"]["test"]["t1"]["accuracy"] for record in mine)
    assert difference[1] == f"{accuracy - 95.1:+.1f}"


def test_rows_without_runs_say_so(runs, capsys):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    labels = [row[0] for row in rows_of(out)[1]]
    assert "IsoMax+ (no runs)" in labels
    assert "Scaled Cosine (no runs)" in labels


def test_the_terminal_table_fits_80_columns(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--paper")
    assert max(map(len, out.splitlines())) <= 80


def changed(folder, change, loss="SoftMax"):
    """Changes the written records of a loss."""
    for path in folder.rglob(records.METRICS):
        record = records.read_record(path)
        if record["titles"]["loss"] == loss:
            change(record)
            path.write_text(json.dumps(record))


def test_what_is_within_the_bests_deviation_is_bold(runs, capsys):
    folder, _ = runs
    accuracies = iter((0.90, 0.92, 0.94))  # 92 ± 2
    for loss, each in (("SoftMax", accuracies), ("DisMax without FPR", iter((0.9001,) * 3))):

        def change(record, each=each):
            record["classification"]["test"]["t1"]["accuracy"] = next(each)

        changed(folder, change, loss)

    def bold():
        _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
        heads, rows = rows_of(out)
        return {row[0]: row[heads.index("ACC %")] for row in rows if "(n=" in row[0]}

    assert bold() == {"SoftMax (n=3)": "**92.0±2.0**", "DisMax without FPR (n=3)": "**90.0±.0**"}
    changed(folder, lambda record: record["classification"]["test"]["t1"].update(accuracy=0.92))  # 92 ± 0
    assert bold() == {"SoftMax (n=3)": "**92.0±.0**", "DisMax without FPR (n=3)": "90.0±.0"}
    _, out, _ = printed(capsys, "--runs", folder, "--format", "table", "--no-detail")
    assert "92.0±.0*" in out
    assert "90.0±.0 " in out
    _, out, _ = printed(capsys, "--runs", folder, "--format", "latex", "--no-detail")
    assert "\\textbf{92.0±.0}" in out


def test_of_errors_the_lowest_is_best(runs, capsys):
    folder, _ = runs
    changed(folder, lambda record: record["classification"]["test"]["calibrated"].update(ece=0.001))
    changed(folder, lambda record: record["classification"]["test"]["calibrated"].update(ece=0.002), "DisMax without FPR")
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    heads, rows = rows_of(out)
    ece = {row[0]: row[heads.index("ECE")] for row in rows}
    assert ece["SoftMax (n=3)"] == "**.0010±.0000**"
    assert ece["DisMax without FPR (n=3)"] == ".0020±.0000"


def test_the_whole_table_has_every_row_of_the_paper_and_empty_cells_for_ours(tmp_path, capsys):
    status, out, _ = printed(capsys, "--runs", tmp_path, "--paper", "--format", "markdown")
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("|")]
    table = pd.read_csv(PAPER)
    assert sum("(no runs)" in line for line in lines) == sum("· paper" in line for line in lines) == len(table)
    assert all(set(line.split("(no runs)")[1]) <= set("| ") for line in lines if "(no runs)" in line)
    deep = next(lines[at + 1] for at, line in enumerate(lines) if "Deep Ensemble (no runs)" in line)
    row = table[(table["method"] == "Deep Ensemble") & (table["data"] == "cifar10")].iloc[0]
    cells = [cell.strip(" *") for cell in deep.strip("|").split("|")]
    assert cells[1:3] == [f"{row['efficiency']:.0f}", f"{row['acc']}±{row['acc_std']}".replace("±0.", "±.")]
    assert cells[5:7] == ["", ""]


def test_an_ensemble_stands_beside_the_papers_with_its_number_of_members(runs, capsys):
    folder, _ = runs

    def change(record):
        record["titles"]["loss"], record["members"] = "Deep Ensemble", [1, 2, 3]
        record["config"]["model"], record["titles"]["model"] = "wideresnet2810", "WideResNet-28-10"

    changed(folder, change)
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")]
    at = rows.index("Deep Ensemble of 3 (n=3)")
    assert rows[at + 1 : at + 3] == ["· paper", "· differ."]
    assert "Deep Ensemble (no runs)" not in rows


def test_preprocessed_inputs_have_the_papers_row_and_measured_efficiency_its_column(runs, capsys):
    folder, _ = runs
    values = dict.fromkeys(DETAIL, 0.5)

    def change(record):
        record["titles"]["loss"] = "GODIN"
        sets = {source: values for source, _, _ in SETS}
        refused = {"title": "ViM", "not_applicable": "needs a linear head"}
        record["detectors"] = {"preprocessing": {"title": "own, perturbed", "version": 2, "sets": sets}, "vim": refused}

    changed(folder, change)
    (folder / "efficiency.json").write_text(
        json.dumps({"rows": [{"network": "DenseNet-BC-100", "method": "GODIN, preprocessing", "efficiency": 27.3}]})
    )
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown")
    heads, rows = rows_of(out)
    at = next(index for index, row in enumerate(rows) if row[0] == "GODIN, preprocessing (n=3)")
    ours, paper, gap = (dict(zip(heads, row, strict=True)) for row in rows[at : at + 3])
    assert (ours["Eff %"], paper["Eff %"], gap["Eff %"]) == ("27", "26", "+1")
    assert ours["LSUN AUROC %"] == "50.0±.0"
    assert gap["LSUN AUROC %"] == "-49.4"
    detail = [line for line in out.splitlines() if "ViM" in line]
    assert len(detail) == len(SETS)
    assert all(line.count("n/a") == len(DETAIL) and "| 0 " in line for line in detail)
    (folder / "efficiency.json").write_text("{}")
    status, _, err = printed(capsys, "--runs", folder)
    assert status == 2
    assert "efficiency.json is damaged" in err


def test_a_wide_terminal_has_labels_in_one_line(runs, capsys, monkeypatch):
    folder, _ = runs
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = printed(capsys, "--runs", folder, "--paper")
    assert max(map(len, out.splitlines())) <= 120
    assert any(line.startswith("DisMax without FPR (n=3) ") for line in out.splitlines())


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_every_score_of_every_set_is_printed(runs, capsys, style):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", style)
    assert out.count("MMLES") == 2 * len(SETS)
    assert out.count("DTACC") == len(SETS)


def test_csv_holds_every_number(runs, tmp_path, capsys):
    folder, written = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", "csv")
    (tmp_path / "out.csv").write_text(out)
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == len(written) * len(SETS) * 2 * 2
    one = table[(table["method"] == "SoftMax") & (table["seed"] == 2) & (table["set"] == "SVHN") & (table["at"] == "t1")]
    one = one.set_index("score").loc["MPS"]
    assert one["auroc"] == pytest.approx(written[1]["detection"]["svhn"]["scores"]["t1"]["MPS"]["auroc"])


def test_damaged_and_foreign_records_are_named_and_left_out(runs, capsys):
    folder, written = runs
    lacking = {name: value for name, value in written[0].items() if name != "titles"}
    damaged = (json.dumps(written[0])[:200], "", "[]", json.dumps(written[0] | {"format": 99}), json.dumps(lacking))
    damaged += tuple(json.dumps(written[0] | {"config": config}) for config in ({}, []))
    for number, content in enumerate(damaged):
        path = folder / f"bad{number}" / records.METRICS
        path.parent.mkdir()
        path.write_text(content)
    status, out, err = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert status == 0
    assert "SoftMax (n=3)" in out
    assert [f"bad{number}" in line for number, line in enumerate(err.splitlines())] == [True] * 7
    assert "lacks titles" in err


def test_runs_that_differ_do_not_share_a_table(runs, capsys):
    folder, written = runs
    other = copy.deepcopy(written[0])
    other["config"] |= {"epochs": 5, "precision": "bf16"}
    path = folder / "other" / records.METRICS
    path.parent.mkdir()
    path.write_text(json.dumps(other))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert "SoftMax (n=3)" in out
    assert "SoftMax (n=1)" in out
    assert "5 epochs, scores at T = 1, precision bf16" in out


def test_runs_behind_a_link_are_found(runs):
    root, written = runs
    (root / "DisMax without FPR").rename(root.parent / "elsewhere")
    (root / "DisMax without FPR").symlink_to(root.parent / "elsewhere")
    (root / "SoftMax" / "loop").symlink_to(root)
    assert len(records.find_records(root)[0]) == len(written)
    assert len(records.run_folders([root])) == len(written)


def test_a_copy_of_a_run_does_not_count_twice(runs, capsys):
    folder, written = runs
    path = folder / "zz copy" / records.METRICS
    path.parent.mkdir()
    path.write_text(json.dumps(written[0] | {"config": written[0]["config"] | {"runs": "elsewhere"}}))
    _, out, err = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert "SoftMax (n=3)" in out
    assert f"{path} is the same run as" in err


def test_another_metric_is_not_compared_with_the_papers(runs, capsys):
    folder, _ = runs
    for path in folder.rglob(records.METRICS):
        record = records.read_record(path)
        record["detection"]["cifar100"]["role"], record["detection"]["svhn"]["role"] = "far", "near"
        path.write_text(json.dumps(record))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    heads, rows = rows_of(out)
    paper = dict(zip(heads[1:], [cell.replace("*", "") for cell in rows[1][1:]], strict=True))
    assert paper["near AUROC %"] == ""
    assert paper["SVHN AUPR %"] == "93.7±3.3"


def test_nothing_to_print_says_so(tmp_path, capsys):
    status, out, err = printed(capsys, "--runs", tmp_path / "none")
    assert (status, out) == (2, "")
    assert "no finished run" in err


def test_the_papers_table_is_whole():
    table = pd.read_csv(PAPER)
    assert len(table) == 33
    assert table.groupby(["data", "network"]).ngroups == 6
    assert not table["acc"].isna().any()
