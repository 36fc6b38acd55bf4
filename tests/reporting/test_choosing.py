"""analyze.py FOLDER..., --only, --columns: what is read and shown."""

import shutil

import pandas as pd
import pytest

from experiment import records
from reporting.choosing import named
from reporting.details import DETAIL
from tests.reporting.tables import SETS, changed, first_table_of, printed, rows_of

NAMES = {"a": ["DisMax"], "b": ["DisMax without FPR", "dismax_nofpr"], "c": ["ACC %"]}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("dismax", ["a"]),
        ("DISMAX_nofpr", ["b"]),
        ("fpr", ["b"]),
        ("max", ["a", "b"]),
        ("acc", ["c"]),
        ("nofpr", []),
    ],
)
def test_a_text_names_what_is_called_so_or_else_what_contains_it(text, keys):
    assert named(text, NAMES) == keys


def labels(out):
    """Return the first cells of the rows of runs and of the paper's methods."""
    return {row[0] for row in rows_of(out)[1] if row[0].endswith(")")}


def test_only_shows_the_named_rows_of_ours_and_of_the_paper(runs, capsys):
    folder, _ = runs
    shown = printed(capsys, folder, "--format", "markdown", "--only", "softmax", "isomax+")
    assert (shown[0], shown[2]) == (0, "")
    assert labels(shown[1]) == {"SoftMax (n=3)", "IsoMax+ (no runs)"}
    assert shown[1].count("· paper") == 2


def test_the_best_are_those_of_the_shown_rows(runs, capsys):
    folder, _ = runs
    for loss, ece in (("SoftMax", 0.02), ("DisMax without FPR", 0.01)):
        changed(
            folder, lambda r, e=ece: r["classification"]["test"]["calibrated"].update(ece=e), loss
        )
    for chosen, bold in (("SoftMax", []), ("DisMax", []), ("max", ["**.0100±.0000**"])):
        _, out, _ = printed(
            capsys, folder, "--format", "markdown", "--only", chosen, "--bold", "paper"
        )
        assert [text for text in ("**.0100±.0000**", "**.0200±.0000**") if text in out] == bold


def test_only_takes_names_of_options_and_works_with_csv(runs, capsys, tmp_path):
    folder, _ = runs
    change = {"SoftMax": "softmax", "DisMax without FPR": "dismax_nofpr"}
    for title, loss in change.items():
        changed(folder, lambda record, loss=loss: record["config"].update(loss=loss), title)
    status, out, _ = printed(capsys, folder, "--format", "markdown", "--only", "dismax_nofpr")
    assert status == 0
    assert {label.split(" (")[0] for label in labels(out)} == {"DisMax without FPR"}
    for chosen in ("softmax", "SoftMax (version 1)"):  # the records are older than versions
        status, out, _ = printed(capsys, folder, "--format", "csv", "--only", chosen, "cifar10")
        (tmp_path / "out.csv").write_text(out)
        assert status == 0
        assert set(pd.read_csv(tmp_path / "out.csv")["method"]) == {"SoftMax (version 1)"}


def test_only_works_with_the_report(runs, capsys, tmp_path):
    page = tmp_path / "page"
    assert printed(capsys, runs[0], "--report", page, "--only", "SoftMax")[0] == 0
    text = (page / "index.html").read_text()
    assert "SoftMax (n=3)" in text
    assert "DisMax without FPR" not in text
    assert "IsoMax+ (no runs)" not in text


def test_a_run_is_of_a_named_data_set_and_of_a_named_network(runs, capsys):
    folder, _ = runs

    def change(record):
        record["config"]["model"], record["titles"]["model"] = "resnet34", "ResNet-34"

    changed(folder, change)
    both = ("CIFAR-10, ResNet-34", "CIFAR-10, DenseNet-BC-100")
    for chosen, shown in ((["resnet34"], both[:1]), (["CIFAR-10", "densenet"], both[1:])):
        status, out, _ = printed(capsys, folder, "--only", *chosen)
        assert status == 0
        assert [title in out for title in both] == [title in shown for title in both]
    status, out, err = printed(capsys, folder, "--only", "DisMax without FPR", "resnet34")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no run is of all of these" in err


def test_a_row_with_preprocessing_is_not_its_methods_row(runs, capsys):
    folder, _ = runs

    def change(record):
        record["titles"]["loss"] = "GODIN"
        sets = {source: dict.fromkeys(DETAIL, 0.5) for source, _, _ in SETS}
        entry = {"title": "own, perturbed", "version": 2, "sets": sets}
        record["detectors"] = {"preprocessing": entry}

    changed(folder, change)
    for chosen in ("GODIN", "GODIN, preprocessing"):
        _, out, _ = printed(capsys, folder, "--format", "markdown", "--only", chosen)
        assert labels(out) == {f"{chosen} (n=3)"}


def test_chosen_columns_are_printed_in_the_given_order(runs, capsys):
    folder, _ = runs
    arguments = (folder, "--format", "markdown")
    heads, rows = first_table_of(printed(capsys, *arguments)[1])
    chosen, chosen_rows = first_table_of(
        printed(capsys, *arguments, "--columns", "svhn", "auroc", "acc")[1]
    )
    assert chosen[1:] == ["SVHN AUPR %", "Tiny- IN AUROC %", "LSUN AUROC %", "ACC %"]
    places = [heads.index(head) for head in chosen]
    assert chosen_rows == [[row[at] for at in places] for row in rows]


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("--only", ["SoftMax, ", "CIFAR-10, DenseNet-BC-100"]),
        ("--columns", ["ACC %", "SVHN AUPR %"]),
        ("--group-by", ["data", "network", "epochs", "ood"]),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_those_there_are(runs, capsys, option, names):
    status, out, err = printed(capsys, runs[0], option, "nope")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{option} nope: " in err
    assert [name for name in names if name not in err] == []


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "csv", "--columns", "ACC"],
        ["--format", "csv", "--group-by", "data"],
        ["--format", "csv", "--paper"],
        ["--report", "page", "--columns", "ACC"],
        ["--report", "page", "--paper"],
        ["--paper", "--group-by", "data"],
    ],
)
def test_options_without_effect_are_an_error_in_one_line(runs, capsys, options):
    status, out, err = printed(capsys, runs[0], *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "leave one out" in err


def test_runs_of_several_folders_count_once(runs, capsys):
    folder, _ = runs
    first, second = folder / "SoftMax", folder / "DisMax without FPR"
    for arguments in ((first, second), (folder, first), (second, "--runs", first)):
        status, out, err = printed(capsys, *arguments, "--format", "markdown")
        assert (status, err) == (0, "")
        assert {"SoftMax (n=3)", "DisMax without FPR (n=3)"} <= labels(out)
    shutil.copytree(first, folder.parent / "copy")
    _, out, err = printed(capsys, first, folder.parent / "copy", "--format", "markdown")
    assert "SoftMax (n=3)" in labels(out)
    assert err.count("is the same run as") == 3


def test_a_folder_without_runs_beside_others_is_named_with_status_2(runs, tmp_path, capsys):
    status, out, err = printed(capsys, runs[0], tmp_path / "none")
    assert (status, err.count("\n")) == (2, 1)
    assert f"no finished run is in or below {tmp_path / 'none'}" in err
    assert "(n=3)" in out


def test_a_folder_behind_an_option_of_names_is_an_error(runs, capsys):
    status, out, err = printed(capsys, "--only", "SoftMax", runs[0])
    assert (status, out) == (2, "")
    assert "name folders before --only" in err


def test_a_measured_efficiency_counts_for_the_runs_of_its_folder(runs, capsys):
    folder, _ = runs
    for name, value in (("SoftMax", 71), ("DisMax without FPR", 72)):
        row = {"network": "DenseNet-BC-100", "method": "SoftMax", "efficiency": value}
        records.write_json(folder / name / "efficiency.json", {"rows": [row]})
    places = (folder / "DisMax without FPR", folder / "SoftMax")

    def efficiency():
        _, out, _ = printed(capsys, *places, "--format", "markdown", "--only", "SoftMax")
        heads, rows = rows_of(out)
        return dict(zip(heads, rows[0], strict=True)).get("Eff %")

    assert efficiency() == "71"
    (folder / "SoftMax" / "efficiency.json").unlink()
    assert not efficiency()
    row["efficiency"] = 73
    records.write_json(folder / "efficiency.json", {"rows": [row]})
    places = (folder,)
    assert efficiency() == "73"
