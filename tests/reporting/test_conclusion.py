"""reporting/conclusion.py: a conclusion claims no more than the numbers carry."""

import re

import numpy as np
import pytest
from scipy import stats

from experiment import records
from reporting.columns import columns_of
from reporting.conclusion import conclude
from tests.common import ROOT
from tests.reporting.tables import shown
from utils import versions


def with_accuracies(written, accuracies):
    """Records in which all numbers are equal, except the test accuracies of a loss by seed."""
    changed = []
    for record in written:
        loss, seed = record["titles"]["loss"], record["config"]["seed"]
        if seed > len(accuracies[loss]):
            continue
        metrics = {"accuracy": accuracies[loss][seed - 1], "ece": 0.01, "nll": 0.3, "brier": 0.1}
        detection = {
            source: entry
            | {"scores": {at: {"MPS": same, "MMLES": same} for at in ("t1", "calibrated")}}
            for source, entry in record["detection"].items()
            for same in [dict.fromkeys(entry["scores"]["t1"]["MPS"], 0.9)]
        }
        name = {"SoftMax": "softmax"}.get(loss, "dismax_nofpr")
        config = record["config"] | {"loss": name, "versions": {name: versions.of(name)}}
        test = {"n": 10_000, "t1": metrics, "calibrated": metrics}
        changed.append(
            record | {"config": config, "classification": {"test": test}, "detection": detection}
        )
    return changed


def test_a_clear_difference_is_claimed_with_its_paired_interval(runs):
    soft, dis = [0.90, 0.92, 0.91], [0.9401, 0.9599, 0.9500]
    said, *more = conclude(
        shown(with_accuracies(runs[1], {"SoftMax": soft, "DisMax without FPR": dis}))
    )
    low, high = stats.ttest_rel(dis, soft).confidence_interval()
    assert (
        f"DisMax without FPR is better in ACC: +4.0 points (95 % interval +{100 * low:.1f} to "
        f"+{100 * high:.1f})" in said.text
    )
    assert "3 common seeds" in said.text
    assert said.differences == ()
    assert more == []


def test_a_difference_that_the_correction_does_not_carry_is_only_a_hint(runs):
    soft, dis = [0.90, 0.92, 0.91], [0.890, 0.914, 0.904]
    p = stats.ttest_rel(dis, soft).pvalue
    assert 0.05 / 7 < p < 0.05  # alone significant, but not the below 5 % for seven columns
    said, *more = conclude(
        shown(with_accuracies(runs[1], {"SoftMax": soft, "DisMax without FPR": dis}))
    )
    assert said.text.startswith("No difference from SoftMax is significant (")
    (hints,) = more
    (hint,) = hints.differences
    assert hint.startswith("DisMax without FPR is worse in ACC: -0.7 points")


def test_seeds_are_paired(runs):
    """The spread between seeds is far larger than the difference, which each seed shows."""
    soft, dis = [0.70, 0.80, 0.90], [0.7100, 0.8101, 0.9099]
    said, *_ = conclude(
        shown(with_accuracies(runs[1], {"SoftMax": soft, "DisMax without FPR": dis}))
    )
    assert "better in ACC: +1.0 points" in said.text


@pytest.mark.parametrize("shares", [{"SoftMax": 1, "DisMax without FPR": 3}, {"SoftMax": 1}])
def test_one_common_seed_concludes_nothing(runs, shares):
    accuracies = {loss: [0.9] * shares.get(loss, 0) for loss in ("SoftMax", "DisMax without FPR")}
    said, *more = conclude(shown(with_accuracies(runs[1], accuracies)))
    assert re.match("Nothing can be concluded: no other|There is one method", said.text)
    assert said.differences == ()
    assert more == []


def test_equal_differences_prove_nothing(runs):
    soft = [0.90, 0.92, 0.91]
    accuracies = {"SoftMax": soft, "DisMax without FPR": [value + 0.01 for value in soft]}
    said, *more = conclude(shown(with_accuracies(runs[1], accuracies)))
    assert "No difference from SoftMax is significant" in said.text
    assert said.differences == ()
    assert more == []


def test_random_numbers_rarely_give_a_claim(runs):
    """With Holm's correction at most 5 % of tables without any difference have one."""
    rng, claims = np.random.default_rng(0), 0
    for _ in range(60):
        drawn = {loss: [*rng.normal(0.9, 0.01, 3)] for loss in ("SoftMax", "DisMax without FPR")}
        said, *_ = conclude(shown(with_accuracies(runs[1], drawn)))
        claims += not said.text.startswith("No difference")
    assert claims <= 3


def test_several_claims_are_a_list_and_methods_without_common_seeds_are_named(runs):
    soft, dis = [0.90, 0.92, 0.91], [0.9401, 0.9599, 0.9500]
    made = with_accuracies(runs[1], {"SoftMax": soft, "DisMax without FPR": dis})
    twice = [
        record | {"titles": record["titles"] | {"loss": "Other"}}
        for record in made
        if record["titles"]["loss"] != "SoftMax"
    ]
    once = made[0] | {"titles": made[0]["titles"] | {"loss": "Once"}}
    once["config"] = once["config"] | {"loss": "isomax", "seed": 9}
    claimed, lacking = conclude(shown([*made, *twice, once]))
    assert claimed.text.startswith("2 differences from SoftMax are significant (12 paired")
    assert [line.split(" is better")[0] for line in claimed.differences] == [
        "DisMax without FPR",
        "Other",
    ]
    assert lacking.text.startswith("Once has fewer than two seeds in common with SoftMax")


def test_methods_that_the_table_does_not_show_are_not_compared(runs):
    soft, dis = [0.90, 0.92, 0.91], [0.9401, 0.9599, 0.9500]
    made = with_accuracies(runs[1], {"SoftMax": soft, "DisMax without FPR": dis})
    (said,) = conclude(shown(made, {"DisMax without FPR"}))
    assert said.text.startswith("There is one method")


def test_the_study_is_compared_with_its_softmax():
    folder = ROOT / "results" / "cifar10_small" / "runs"
    found = [records.read_record(path) for path in sorted(folder.rglob(records.METRICS))]
    said, *_ = conclude(shown(found))
    assert "from SoftMax (version 1)" in said.text
    assert "21 paired t tests over 3 common seeds" in said.text


def test_a_test_of_the_same_numbers_counts_once(runs):
    """The own score of both methods is MPS, so the near set's two columns are one comparison."""
    soft, dis = [0.90, 0.92, 0.91], [0.9401, 0.9599, 0.9500]
    made = with_accuracies(runs[1], {"SoftMax": soft, "DisMax without FPR": dis})
    same = [record | {"score": "MPS"} for record in made]
    said, *_ = conclude(shown(same))
    assert "(6 paired t tests over" in said.text
    assert len([column for column in columns_of(same) if column.per_run]) == 7
