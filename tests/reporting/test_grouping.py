"""analyze.py --group-by: which runs share a table, and what the names of its rows say."""

import json
import shutil

import pytest

from experiment import records
from tests.reporting.tables import first_table_of, printed, rows_of


@pytest.fixture
def two(runs):
    """The runs again, and copies of them that a function changes."""
    folder, _ = runs

    def make(change):
        for loss in ("SoftMax", "DisMax without FPR"):
            shutil.copytree(folder / loss, folder / "other" / loss)
        for path in (folder / "other").rglob(records.METRICS):
            record = records.read_record(path)
            change(record)
            path.write_text(json.dumps(record))
        return folder

    return make


def other_network(record):
    record["config"]["model"], record["titles"]["model"] = "other34", "Other-34"
    record["classification"]["test"]["t1"]["accuracy"] = 0.5


def rows_by_name(out):
    """Return the rows of runs by their names, each as a dictionary by heads."""
    heads, rows = first_table_of(out)
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows if "(n=" in row[0]}


def unmarked(row):
    return {head: cell.strip("*") for head, cell in row.items()}


def test_tables_that_differ_in_the_precision_alone_are_noted(two, capsys):
    def other_precision(record):
        record["config"]["precision"] = "bf16"

    folder = two(other_precision)
    _, _, err = printed(capsys, folder)
    assert err.startswith("note: Some tables differ in the precision alone")
    _, _, err = printed(capsys, folder / "other")
    assert err == ""


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"fingerprints": {"svhn": "2"}}, "the images of svhn"),
        ({"plugins": {"/a/mine.py": "2"}}, "the plugin mine.py of DisMax without FPR"),
        ({"fingerprints": {"--weights": "2"}}, "the weights that DisMax without FPR began with"),
    ],
)
def test_runs_of_a_table_with_other_content_are_noted(runs, capsys, entry, named):
    folder, _ = runs
    for number, path in enumerate(sorted(folder.rglob(records.METRICS))):
        record = records.read_record(path)
        ((field, values),) = entry.items()
        record[field] = dict.fromkeys(values, "1") if number else values
        path.write_text(json.dumps(record))
    _, _, err = printed(capsys, folder)
    assert err == (
        f"note: CIFAR-10, DenseNet-BC-100: the runs differ in {named}, so compare them with care.\n"
    )


def test_runs_with_other_code_of_a_detectors_plugin_are_noted(runs, capsys):
    folder, _ = runs
    for number, path in enumerate(sorted(folder.rglob(records.METRICS))):
        record = records.read_record(path)
        entry = {"title": "Mine", "plugin": {"/a/mine.py": str(number)}, "not_applicable": "never"}
        record["detectors"] = {"mine": entry}
        path.write_text(json.dumps(record))
    _, _, err = printed(capsys, folder)
    assert "the runs differ in the plugin mine.py of mine, so compare them with care" in err


def test_runs_with_the_same_seed_in_one_row_are_noted(runs, capsys):
    folder, _ = runs
    path = min(folder.rglob(records.METRICS))
    record = records.read_record(path)
    record["config"] |= {"outputs": "1"}
    for number in (1, 2):
        record["config"]["outputs"] = record["titles"]["loss"] = f"made {number}"
        record["titles"]["loss"] = "Mine"
        records.write_json(folder / f"more{number}" / records.METRICS, record)
    _, _, err = printed(capsys, folder)
    assert "Mine: some of its runs have the same seeds or members, so they are not indep" in err


def test_networks_share_a_table_whose_rows_name_them(two, capsys):
    folder = two(other_network)
    _, out, _ = printed(capsys, folder, "--format", "markdown", "--group-by", "data")
    assert out.count("| method (runs)") == 1
    assert "CIFAR-10\npaper protocol, paper recipe, 300 epochs" in out
    rows = rows_by_name(out)
    assert list(rows) == [
        "SoftMax, DenseNet-BC-100 (n=3)",
        "DisMax without FPR, DenseNet-BC-100 (n=3)",
        "SoftMax, Other-34 (n=3)",
        "DisMax without FPR, Other-34 (n=3)",
    ]
    _, apart, _ = printed(capsys, folder, "--format", "markdown")
    for network in ("DenseNet-BC-100", "Other-34"):
        own = rows_by_name(apart[apart.index(f"CIFAR-10, {network}\n") :])["SoftMax (n=3)"] | {
            "method (runs)": ""
        }
        joined = rows[f"SoftMax, {network} (n=3)"] | {"method (runs)": ""}
        # What is bold is another question: there are more rows to compare with.
        assert unmarked(own).items() <= unmarked(joined).items()
    # The rows of DenseNet-BC-100 have the paper's below them; the paper has no Other-34.
    assert out.count("· paper") == apart.count("· paper")


def test_the_papers_near_column_is_the_other_data_sets(two, capsys):
    def on_cifar100(record):
        record["config"]["data"], record["titles"]["data"] = "cifar100", "CIFAR-100"
        near = record["detection"].pop("cifar100")
        record["detection"] |= {"cifar10": near | {"title": "CIFAR-10"}}

    folder = two(on_cifar100)
    _, out, _ = printed(capsys, folder, "--format", "markdown", "--group-by", "network")
    heads, rows = first_table_of(out)
    papers = [dict(zip(heads, row, strict=True)) for row in rows if row[0] == "· paper"]
    near = {head for head in heads if head.startswith("near (cifar100)") and "MPS" not in head}
    far = {head for head in heads if head.startswith("near (cifar10)") and "MPS" not in head}
    (on10, on100) = (next(iter(each)) for each in (near, far))
    assert {row[on10] for row in papers if row[on100]} == {""}
    assert {row[on100] for row in papers if row[on10]} == {""}
    assert all(any(row[head] for row in papers) for head in (on10, on100))


def test_bold_compares_networks_on_one_data_set_and_never_two_data_sets(two, capsys):
    folder = two(other_network)
    bold = ("--bold", "paper", "--format", "markdown")
    _, out, _ = printed(capsys, folder, *bold, "--group-by", "data")
    rows = rows_by_name(out)
    assert rows["SoftMax, Other-34 (n=3)"]["ACC %"] == "50.0±.0"
    shutil.rmtree(folder / "other")

    def other_data(record):
        record["config"]["data"], record["titles"]["data"] = "mine", "Mine"
        record["classification"]["test"]["t1"]["accuracy"] = 0.5

    _, out, _ = printed(capsys, two(other_data), *bold, "--group-by", "network")
    assert "bold compares rows of the same data set" in out
    assert rows_by_name(out)["SoftMax, Mine (n=3)"]["ACC %"] == "**50.0±.0**"


def test_runs_with_other_sets_have_rows_of_their_own_with_empty_cells(two, capsys):
    def without_svhn(record):
        record["config"]["ood"] = ["very_far=mine"]
        record["detection"]["mine"] = record["detection"].pop("svhn") | {"title": "Mine"}

    folder = two(without_svhn)
    _, out, _ = printed(capsys, folder, "--format", "markdown", "--group-by", "data", "network")
    rows = rows_by_name(out)
    names = [f"SoftMax, with OOD very\\_far={name} (n=3)" for name in ("svhn", "mine")]
    cells = [(rows[name]["SVHN AUPR %"], rows[name]["Mine AUPR %"]) for name in names]
    assert [[bool(cell) for cell in pair] for pair in cells] == [[True, False], [False, True]]


def test_runs_that_differ_in_any_option_are_not_averaged(two, capsys):
    def change(record):
        record["config"] |= {"epochs": 5, "precision": "bf16", "versions": {"densenetbc": 7}}
        record["scores_at"] = "calibrated"

    _, out, _ = printed(capsys, two(change), "--format", "markdown", "--group-by", "data")
    name = "SoftMax, 5 epochs, scores at the fitted T, precision bf16, densenetbc version 7 (n=3)"
    assert name in rows_by_name(out)


def test_the_detail_tables_have_the_rows_names(two, capsys):
    folder = two(other_network)
    _, out, _ = printed(capsys, folder, "--format", "markdown", "--group-by", "data", "--detail")
    detail = out[out.index("every score on SVHN") :]
    names = {row[0] for row in rows_of(detail)[1]}
    assert {"SoftMax, Other-34", "SoftMax, DenseNet-BC-100"} <= names


def test_a_field_may_be_named_as_the_option(two, capsys):
    folder = two(lambda record: record["config"].update(limit_train=10))
    outs = {
        printed(capsys, folder, "--group-by", name)[1]
        for name in ("limit_train", "limit-train", "LIMIT_TRAIN")
    }
    assert len(outs) == 1
    assert (
        printed(capsys, folder, "--group-by", "model")[1]
        == (printed(capsys, folder, "--group-by", "network")[1])
    )
