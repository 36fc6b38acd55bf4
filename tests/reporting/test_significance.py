"""analyze.py --compare: differences over seeds, intervals over images, and ranks over OOD sets."""

import re

import pytest
from scipy import stats

from experiment import search
from experiment.records import METRICS, write_json
from reporting import comparisons
from reporting.bold import ONE_RUN
from reporting.columns import RunRow
from reporting.grouping import tables_of
from reporting.ranking import Ranking, ranking, ranking_table
from reporting.runs import group_runs
from reporting.statistics import RANKINGS
from reporting.table import BEST
from tests.common import ROOT
from tests.reporting.tables import altered, changed, printed, rows_of, shown

ACCURACY = ("classification", "test", "t1", "accuracy")


def accuracies(records, loss):
    """The test accuracies in percent of a loss's records."""
    return [
        100 * record["classification"]["test"]["t1"]["accuracy"]
        for record in records
        if record["titles"]["loss"] == loss
    ]


def test_a_row_is_the_paired_test_of_a_column(runs, capsys):
    folder, written = runs
    status, out, err = printed(
        capsys, "--runs", folder, "--format", "markdown", "--no-detail", "--compare", "softmax"
    )
    assert (status, err) == (0, "")
    table = comparisons.comparison_table(shown(written), "softmax")
    rows, notes = table.rows, table.notes
    name, method, difference, interval, p, holm, n = rows[0]
    pair = [accuracies(written, loss) for loss in ("DisMax without FPR", "SoftMax")]
    expected = stats.ttest_rel(*pair)
    ends = expected.confidence_interval(0.95)
    assert (name, method, n) == ("ACC %", "DisMax without FPR", "3")
    assert difference == f"{sum(pair[0]) / 3 - sum(pair[1]) / 3:+.1f}"
    assert interval == f"{ends.low:+.1f} to {ends.high:+.1f}"
    assert p == holm == f"{expected.pvalue:.3f}".removeprefix("0")
    assert "2.48 standard deviations" in " ".join(notes)
    for said in (*rows[0][3:5], *notes):
        assert said in " ".join(out.split())


def test_a_method_with_one_run_has_a_difference_without_a_test(runs):
    _, written = runs
    one = altered(written[0], "titles", "loss", value="Deep Ensemble")
    table = comparisons.comparison_table(shown([*written, one]), "SoftMax")
    assert comparisons.NO_TEST in table.notes
    row = next(row for row in table.rows if row[1] == "Deep Ensemble")
    mean = sum(accuracies(written, "SoftMax")) / 3
    assert row[2:] == [f"{accuracies([one], 'Deep Ensemble')[0] - mean:+.1f}", *[""] * 3, "one run"]
    table = comparisons.comparison_table(shown([written[0], written[3]]), "SoftMax")
    assert (table.rows, table.notes) == ([], [ONE_RUN])
    assert comparisons.comparison_table(shown(written[:3]), "SoftMax").rows == []


def test_other_seeds_are_compared_unpaired_and_the_table_says_so(runs):
    _, written = runs
    others = [
        altered(record, "config", "seed", value=9 + place)
        for place, record in enumerate(written[3:])
    ]
    table = comparisons.comparison_table(shown([*written[:3], *others]), "SoftMax")
    pair = [accuracies(written, loss) for loss in ("DisMax without FPR", "SoftMax")]
    expected = stats.ttest_ind(*pair, equal_var=False)
    assert table.rows[0][4] == f"{expected.pvalue:.3f}".removeprefix("0")
    assert table.rows[0][6] == "3 and 3, unpaired"
    assert table.notes[-1] == comparisons.UNPAIRED


@pytest.mark.parametrize(
    ("against", "found"),
    [
        ("softmax", "SoftMax (version 1)"),
        ("DisMax", "DisMax"),
        ("myloss", "Mine"),
        ("Soft", None),
        ("dismax_nofpr", "DisMax without FPR"),
        ("godin", None),  # its run has only a row with preprocessing here
    ],
)
def test_a_method_is_named_without_its_version_or_by_its_loss(against, found):
    losses = {
        "SoftMax (version 1)": "softmax",
        "DisMax without FPR": "dismax_nofpr",
        "DisMax (version 2)": "dismax",
        "DisMax": "dismax",
        "GODIN, preprocessing": "godin",
        "Mine": "MyLoss",  # of a plugin
    }
    rows = [
        RunRow(
            method, {"config": {"loss": loss}, "titles": {"loss": method.split(",")[0]}}, 0, {}, {}
        )
        for method, loss in losses.items()
    ]
    assert comparisons.named(rows, against) == found


def test_without_a_name_softmax_is_compared_with(runs):
    _, written = runs
    soft = [altered(record, "config", "loss", value="softmax") for record in written[:3]]
    table = comparisons.comparison_table(shown([*written[3:], *soft]), "")
    assert {row[1] for row in table.rows} == {"DisMax without FPR"}
    assert "minus that of SoftMax" in table.notes[0]


def test_of_chosen_methods_only_these_are_compared(runs):
    _, written = runs
    others = [altered(record, "titles", "loss", value="IsoMax") for record in written[3:]]
    chosen = shown([*written, *others], {"SoftMax", "IsoMax"})
    table = comparisons.comparison_table(chosen, "SoftMax")
    assert {row[1] for row in table.rows} == {"IsoMax"}
    lacking = comparisons.comparison_table(shown(written, {"DisMax without FPR"}), "SoftMax")
    assert (lacking.rows, lacking.notes) == ([], ["No run of this table is of SoftMax."])


def test_an_unknown_method_and_csv_are_errors_in_one_line(runs, capsys):
    folder, _ = runs
    status, out, err = printed(capsys, "--runs", folder, "--compare", "SoftMaxx")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "choose one of SoftMax, DisMax without FPR" in err
    status, out, err = printed(capsys, "--runs", folder, "--compare", "SoftMax", "--format", "csv")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--format csv" in err


def test_a_table_without_the_method_says_so(runs, capsys):
    folder, _ = runs
    changed(folder, lambda record: record["config"].update(batch_size=32), "DisMax without FPR")
    _, out, _ = printed(capsys, "--runs", folder, "--no-detail", "--compare", "SoftMax")
    assert "No run of this table is of SoftMax." in out
    assert "There is no other method to compare with." in out


def three_methods(written):
    """Runs of three methods whose AUROC on every set is 0.9, 0.8 and 0.7, by made-up folders."""
    found = {}
    for loss, auroc in (("SoftMax", 0.8), ("DisMax", 0.9), ("IsoMax", 0.7)):
        for record in written[:3]:
            new = altered(record, "titles", "loss", value=loss)
            new["config"]["loss"] = loss
            for entry in new["detection"].values():
                entry["scores"]["t1"]["MPS"]["auroc"] = auroc
            found[f"{loss}/{new['config']['seed']}"] = new
    return found


def by_table(runs):
    """The rows of the runs of each table."""
    return [table.parts[0].rows for table in tables_of(group_runs(runs))]


def test_ranks_are_over_the_sets_of_all_tables(runs):
    _, written = runs
    first = three_methods(written)
    other = {
        f"other {name}": altered(record, "config", "batch_size", value=32)
        for name, record in first.items()
    }
    found = ranking(by_table(first | other))
    assert found.mean_ranks == {"DisMax": 1, "SoftMax": 2, "IsoMax": 3}
    assert [row[0] for row in ranking_table(found).rows] == ["DisMax", "SoftMax", "IsoMax"]
    assert found.blocks == 8
    # All blocks rank alike: no random ranking is as strong.
    assert found.p == pytest.approx(1 / (RANKINGS + 1))
    assert found.critical_difference == pytest.approx(2.343 * (12 / 48) ** 0.5, abs=1e-3)
    assert f"less than {found.critical_difference:.2f} are not told apart" in found.notes[0]


def test_a_method_that_a_table_lacks_is_not_ranked_and_is_named(runs):
    _, written = runs
    first = three_methods(written)
    fourth = {"x": altered(written[0], "titles", "loss", value="GODIN")}
    other = {
        f"other {name}": altered(record, "config", "batch_size", value=32)
        for name, record in first.items()
    }
    found = ranking(by_table(first | other | fourth))
    assert found.left_out == ["GODIN"]
    assert "Not in every table, so not ranked: GODIN." in found.notes


def test_only_the_methods_that_are_shown_are_ranked(runs, capsys):
    folder, written = runs
    for name, record in three_methods(written).items():
        (folder / "three" / name).mkdir(parents=True)
        write_json(folder / "three" / name / METRICS, record)
    ours = ("--runs", folder / "three", "--compare", "SoftMax", "--format", "markdown")
    _, out, _ = printed(capsys, *ours)
    assert "| IsoMax | 3.00" in " ".join(out.split())
    _, out, _ = printed(capsys, *ours, "--only", "SoftMax", "DisMax")
    assert "No ranks: they need three methods that every table has" in " ".join(out.split())


def test_ranks_that_show_nothing_say_so_and_two_methods_have_none(runs):
    _, written = runs
    assert "tell no methods apart" in Ranking({"a": 1.5, "b": 2.0}, 3, 0.3, 1.2, []).notes[0]
    assert "three methods that every table has" in ranking(by_table(dict(enumerate(written))))


def test_intervals_are_of_runs_that_keep_their_predictions(finished, capsys):
    _, out, err = printed(
        capsys, "--runs", finished, "--no-detail", "--format", "markdown", "--compare", "SoftMax"
    )
    assert err == ""
    tables = out.split("intervals over images")
    heads, rows = rows_of(tables[1])
    assert len(rows) == 6  # with the ensemble
    for _, _, accuracy, interval, ece, ece_interval in rows:
        low, high = map(float, interval.split(" to "))
        assert low <= float(accuracy) <= high
        assert 0 <= float(ece_interval.split(" to ")[0]) <= float(ece) * 2
    heads, rows = rows_of(tables[2].split("Ranks")[0])
    assert heads[2:4] == ["set", "AUROC %"]
    assert len(rows) == 18
    for row in rows:
        low, high = map(float, row[4].split(" to "))
        assert low <= float(row[3]) <= high


def test_runs_whose_predictions_are_missing_or_damaged_are_named(runs, capsys):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--no-detail", "--compare", "SoftMax")
    assert "no run keeps its predictions.npz" in " ".join(out.split())
    (folder / "SoftMax" / "1" / "predictions.npz").write_bytes(b"no archive")
    _, out, _ = printed(capsys, "--runs", folder, "--no-detail", "--compare", "SoftMax")
    said = " ".join(out.split())
    assert "No intervals of SoftMax 1: " in said
    assert "No intervals of DisMax without FPR 1, DisMax without FPR 2, " in said
    assert "SoftMax 3: no predictions.npz is kept." in said


def of_the_study(against):
    """The rows of the study's comparisons, by column and method, without versions."""
    records = [*search.find_records(ROOT / "results" / "cifar10_small")[0].values()]
    rows = comparisons.comparison_table(shown(records), against).rows
    return {
        (column, method.replace(" (version 1)", "")): [
            cell.removesuffix(BEST) for cell in (difference, interval, p, holm)
        ]
        for column, method, difference, interval, p, holm, _ in rows
    }


def test_differences_are_marked_if_holms_p_is_below_5_percent():
    records = [*search.find_records(ROOT / "results" / "cifar10_small")[0].values()]
    rows = comparisons.comparison_table(shown(records), "SoftMax").rows
    assert any(float(row[4]) < 0.05 <= float(row[5]) for row in rows)
    for row in rows:
        assert row[2].endswith(BEST) == (float(row[5]) < 0.05), row


def test_the_table_of_the_page_is_what_its_command_prints():
    found = of_the_study("SoftMax")
    _, rows = rows_of((ROOT / "docs" / "statistics.md").read_text().split("## An example")[1])
    rows = [row for row in rows if row[0] in {column for column, _ in found}]
    assert len(rows) == 9
    for column, method, difference, *numbers, n in rows:
        expected = found[column, method.replace(" (version 1)", "")]
        assert [difference.strip("*"), *numbers, n] == [*expected, "3"]


COLUMNS = {
    "accuracy": "ACC %",
    "CIFAR-100 AUPR": "CIFAR-100 AUPR %",
    "SVHN AUROC": "SVHN-crops AUROC %",
    "TinyImageNet AUROC": "TinyImageNet-32 AUROC %",
    "scenes AUROC": "Scenes-32 AUROC %",
}


def test_the_claims_of_the_study_have_the_tests_that_its_page_says():
    page = (ROOT / "results" / "cifar10_small" / "README.md").read_text()
    _, rows = rows_of(page[page.index("| claim |") : page.index("## Where the failure")])
    assert len(rows) == 13
    for claim, *numbers, bold in rows:
        method, _, against, column = re.match(r"(.+) (over|behind) (.+), (.+)", claim).groups()
        assert numbers == of_the_study(against)[COLUMNS[column], method], claim
        assert bold == ("yes" if float(numbers[3]) < 0.05 else "no"), claim
