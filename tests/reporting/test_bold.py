"""Which numbers are bold: by a paired test over seeds, and in the pages and tables that say so."""

import math

import numpy as np
import pytest

from reporting.bold import ONE_RUN, RULES, among_best, best_by_test, one_run_each
from reporting.seeds import compare
from reporting.table import Table
from tests.reporting.tables import changed, printed, rows_of

LOW, HIGH = (0.900, 0.912, 0.921), (0.940, 0.951, 0.962)  # HIGH is better by 4 points for each seed


def by_seed(*values):
    """Return values by the seeds 1, 2, 3, ..."""
    return dict(enumerate(values, 1))


def test_a_method_that_the_test_finds_worse_is_not_among_the_best():
    values = {"a": by_seed(*HIGH), "b": by_seed(*LOW)}
    assert best_by_test(values, lower_is_better=False) == {"a"}
    assert best_by_test(values, lower_is_better=True) == {"b"}


def test_a_column_without_a_significant_difference_has_no_best():
    assert best_by_test({"a": by_seed(0.95, 0.90, 0.85), "b": by_seed(*LOW)}, False) == set()
    assert best_by_test({"a": by_seed(*LOW), "b": by_seed(*LOW)}, False) == set()


def test_a_method_that_is_not_found_worse_is_among_the_best():
    values = {"a": by_seed(*HIGH), "b": by_seed(*LOW), "c": by_seed(0.97, 0.88, 0.95)}
    # The difference of a and b has p = .0004, corrected for three pairs .001.
    assert best_by_test(values, False) == {"a", "c"}


def test_p_values_are_corrected_for_all_pairs():
    values = {"a": by_seed(0.95, 0.96, 0.97), "b": by_seed(0.90, 0.92, 0.905)}
    assert 0.01 < compare(values["a"], values["b"]).difference.p < 0.05
    assert best_by_test(values, False) == {"a"}
    # With two more methods there are six pairs, and no corrected p is below 5 %.
    rest = {"c": by_seed(0.8, 0.99, 0.9), "d": by_seed(0.99, 0.8, 0.85)}
    assert best_by_test(values | rest, False) == set()


def test_without_any_difference_at_most_5_percent_of_columns_have_bold_numbers():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(1500, 4, 3))
    bold = [
        bool(best_by_test({str(k): by_seed(*row) for k, row in enumerate(column)}, False))
        for column in columns
    ]
    assert np.mean(bold) <= 0.05


def test_a_method_with_one_run_is_never_among_the_best():
    pair = {"a": by_seed(*HIGH), "b": by_seed(*LOW)}
    assert best_by_test(pair | {"one": {"1+2+3": 0.93}}, False) == {"a"}
    assert best_by_test(pair | {"one": {"1+2+3": 0.99}}, False) == set()
    assert best_by_test({"a": {1: 0.9}, "b": {1: 0.8}}, False) == set()
    assert best_by_test({"a": {}, "b": {}}, False) == set()


def test_a_method_with_two_runs_is_never_among_the_best():
    pair = {"a": by_seed(*HIGH), "b": by_seed(*LOW)}
    assert best_by_test(pair | {"far below": by_seed(0.5, 0.6)}, False) == {"a"}
    assert best_by_test(pair | {"above": by_seed(0.99, 0.98)}, False) == set()


def test_a_method_that_is_better_on_the_common_seeds_is_not_found_worse():
    best = by_seed(*LOW) | dict.fromkeys((4, 5, 6, 7), 0.99)
    other = by_seed(*HIGH)
    assert compare(best, other).difference.p < 0.01
    assert best_by_test({"best": best, "other": other}, False) == set()


def test_seeds_that_do_not_match_are_compared_by_welchs_test():
    a, b = dict(zip((4, 5, 6), HIGH, strict=True)), by_seed(*LOW)
    found = compare(a, b)
    assert (found.pairs, found.runs) == (0, "3 and 3, unpaired")
    paired = compare(by_seed(*HIGH), b).difference
    assert found.difference.high - found.difference.low > paired.high - paired.low
    assert best_by_test({"a": a, "b": b}, False) == {"a"}


def test_of_common_seeds_only_these_count():
    found = compare(by_seed(1.0, 2.0, 3.0, 90.0), by_seed(0.5, 1.0, 1.5))
    assert (found.pairs, found.runs, found.difference.mean) == (3, "3", 1.0)


def set_accuracies(folder, loss, values):
    """Write the test accuracies of a loss's runs, in the order of their seeds."""
    each = iter(values)

    def change(record):
        record["classification"]["test"]["t1"]["accuracy"] = next(each)

    changed(folder, change, loss)


def test_the_table_marks_the_best_by_the_test_and_states_the_rule(runs, capsys):
    folder, _ = runs
    set_accuracies(folder, "SoftMax", LOW)
    set_accuracies(folder, "DisMax without FPR", (0.93, 0.95, 0.94))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    heads, rows = rows_of(out)
    accuracies = {row[0]: row[heads.index("ACC %")] for row in rows}
    assert accuracies["DisMax without FPR (n=3)"].startswith("**")
    assert not accuracies["SoftMax (n=3)"].startswith("**")
    for bold in RULES:
        _, out, _ = printed(capsys, "--runs", folder, "--no-detail", "--bold", bold)
        assert f"* or bold: {RULES[bold]}" in " ".join(out.split())


def test_a_table_of_single_runs_says_so_and_has_no_bold_number_of_ours(runs, capsys):
    folder, _ = runs
    for path in [*folder.glob("*/2/*"), *folder.glob("*/3/*")]:
        path.unlink()
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert ONE_RUN in " ".join(out.split())
    assert not any("**" in "".join(row) for row in rows_of(out)[1] if "(n=1)" in row[0])


def test_one_run_each_is_about_every_method():
    assert one_run_each(["a", "b"])
    assert not one_run_each(["a", "b", "b"])
    assert not one_run_each([])


@pytest.mark.parametrize("bold", RULES)
def test_a_page_states_the_rule(bold):
    from reporting.page import render

    assert RULES[bold].replace("'", "&#39;") in render([], {}, bold, Table("", [], []))


@pytest.mark.parametrize(
    ("lower_is_better", "best"), [(False, {"a", "b"}), (True, {"c"})], ids=["highest", "lowest"]
)
def test_the_best_are_within_the_best_ones_deviation(lower_is_better, best):
    cells = {"a": (9.0, 2.0), "b": (7.0, 0.0), "c": (6.0, 0.5), "d": (math.nan, 1.0)}
    assert among_best(cells, lower_is_better) == best


def test_a_single_method_is_not_the_best():
    assert among_best({"a": (9.0, 2.0), "b": (math.nan, math.nan)}, False) == set()
