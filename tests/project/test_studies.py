"""The code of the studies in results/: plugins, numbers that judge, a figure."""

import csv
import itertools
from statistics import mean
from unittest import mock

import pandas as pd
import pytest
import torch

from detectors import DETECTORS, FitData, SetOutputs
from detectors.own import fit_own
from losses import (
    LOSSES,
    DisMaxLossFirstPart,
    DisMaxLossSecondPart,
    IsoMaxPlusLossFirstPart,
)
from reporting.columns import COLUMNS
from reporting.reading import read_runs
from reporting.run_rows import run_rows
from results.combined_score import measure, tables
from results.schedule_or_capacity import answer, figure
from tests.common import ROOT
from tests.detectors.sets import network_set, untrained_data

# The plugins add rows, which no other test may see.
with (
    mock.patch.dict(LOSSES),
    mock.patch.dict(DETECTORS),
    mock.patch("reporting.columns.COLUMNS", [*COLUMNS]) as all_columns,
):
    from results.fpr_variants import columns, variants  # noqa: F401
    from results.schedule_or_capacity import mean_distance  # noqa: F401

    VARIANTS = {name: loss.criterion for name, loss in LOSSES.items()}
    SCORES = dict(DETECTORS)
ADDED = {column.title: column.value for column in all_columns[len(COLUMNS) :]}


@pytest.fixture
def head():
    torch.manual_seed(0)
    return DisMaxLossFirstPart(8, 5).train()


def batch(count=64):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return images, torch.randint(5, (count,), generator=generator)


def prepared(criterion, count=64):
    """Return a preprocessed batch and the loss of random logits."""
    inputs, targets = criterion.preprocess(
        *batch(count), generator=torch.Generator().manual_seed(2)
    )
    logits = -torch.rand(count, 5, generator=torch.Generator().manual_seed(3))
    return inputs, targets, criterion(logits, targets)


def test_half_of_the_batch_is_dismax(head):
    ours, dismax = (prepared(make(head)) for make in (variants.OtherMosaics, DisMaxLossSecondPart))
    assert torch.equal(ours[0], dismax[0])
    assert torch.equal(ours[1], dismax[1])
    assert ours[2].item() == pytest.approx(dismax[2].item(), rel=1e-6)


@pytest.mark.parametrize(
    ("epoch", "mosaics"), [(1, 0), (2, 0), (3, 6), (6, 16), (11, 32), (15, 32)]
)
def test_the_share_of_mosaics_grows(head, epoch, mosaics):
    criterion = VARIANTS["dismax_growing"](head)
    criterion.before_epoch(epoch)
    _, targets, loss = prepared(criterion)
    assert (targets[:, 1] >= 0).sum() == mosaics
    assert loss.isfinite()


def test_a_quarter_of_the_batch_is_mosaics_and_counts_a_quarter(head):
    criterion = VARIANTS["dismax_quarter"](head)
    _, targets, _ = prepared(criterion)
    assert (targets[:, 1] >= 0).tolist() == [False] * 48 + [True] * 16
    certain = torch.full((64, 5), -10.0).scatter(1, targets[:, :1], 0.0)  # right for plain images
    log_p = torch.log_softmax(10 * certain[48:], 1)
    q = torch.stack([torch.bincount(row, minlength=5) / 4 for row in targets[48:]])
    expected = torch.nn.functional.kl_div(log_p, q, reduction="batchmean") / 4
    assert criterion(certain, targets).item() == pytest.approx(expected.item(), rel=1e-5)


def test_blended_seams_are_mosaics_away_from_the_seams_and_smooth_there(head):
    blended, _, _ = prepared(VARIANTS["dismax_blended"](head))
    sharp, _, _ = prepared(DisMaxLossSecondPart(head))
    middle, ends = slice(12, 20), (slice(0, 12), slice(20, 32))
    for rows, columns_ in itertools.product(ends, ends):
        torch.testing.assert_close(blended[..., rows, columns_], sharp[..., rows, columns_])
    assert not torch.allclose(blended[32:, :, middle], sharp[32:, :, middle])
    ones = variants.BlendedSeams(head).mosaics(torch.ones(4, 3, 32, 32))
    torch.testing.assert_close(ones, torch.ones_like(ones))
    for source in range(4):  # each image has a quarter of the weight
        one = torch.zeros(4, 1, 32, 32)
        one[source] = 1
        shares = variants.BlendedSeams(head).mosaics(one).mean((1, 2, 3))
        torch.testing.assert_close(shares, torch.full((4,), 0.25))


def test_evaluation_changes_nothing(head):
    images, labels = batch()
    head.eval()
    assert variants.OtherMosaics(head).preprocess(images, labels)[0] is images


def test_the_two_parts_of_the_distances_come_from_the_logits(head):
    features = torch.randn(20, 8)
    with torch.no_grad():
        logits = head.eval()(features)
        unit = torch.nn.functional.normalize
        d = head.distance_scale.abs() * torch.cdist(unit(features), unit(head.prototypes)) / 2**0.5
    images = SetOutputs({"logits": logits})
    data = FitData(None, None, None, images, (1.0,) * 3)
    for name, expected in (("mean_distance", -d.mean(1)), ("smallest_distance", -d.amin(1))):
        score = SCORES[name].fit(data)
        torch.testing.assert_close(score(images).float(), expected, rtol=1e-4, atol=1e-5)
        assert SCORES[name].refuses(head) is None
        assert SCORES[name].refuses(IsoMaxPlusLossFirstPart(8, 5)) == "needs the logits of DisMax"


def test_the_numbers_that_choose_and_judge_are_those_of_the_record():
    folder = ROOT / "results" / "schedule_or_capacity" / "runs" / "15-epochs"
    runs, _ = read_runs([folder / "CIFAR-10" / "wideresnet102" / "dismax" / "1"])
    (record,) = runs.values()
    (row,) = run_rows(record)
    sets = {entry["title"]: source for source, entry in record["detection"].items()}

    def own(title):
        return 100 * record["detection"][sets[title]]["scores"]["calibrated"]["MMLES"]["auroc"]

    def smallest(title):
        return 100 * record["detectors"]["smallest_distance"]["sets"][sets[title]]["auroc"]

    accuracy = 100 * record["best"]["accuracy"]
    for name, value in (("MMLES", own), ("min d", smallest)):
        expected = (accuracy + value("CIFAR-100") + value("SVHN-crops")) / 3
        assert ADDED[f"choice [{name}]"](row) == pytest.approx(expected)
        expected = min(value("TinyImageNet-32"), value("Scenes-32"))
        assert ADDED[f"worst [{name}]"](row) == pytest.approx(expected)


def test_the_figure_has_a_point_for_each_run():
    runs, _ = read_runs([ROOT / "results" / "schedule_or_capacity" / "runs"])
    drawn = figure.draw([*runs.values()])
    points = [line for line in drawn.axes[0].lines if line.get_linestyle() == "None"]
    assert sum(len(line.get_xdata()) for line in points) == len(runs)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == [*figure.PANELS]


LOSES = (90.0, 50.0)  # (without FPR, with FPR) after the short training


@pytest.mark.parametrize(
    ("short", "long", "large", "expected"),
    [
        (LOSES, (98, 90), (95, 60), "schedule"),
        (LOSES, (98, 70), (95, 80), "capacity"),
        (LOSES, (98, 78), (95, 80), "both"),
        (LOSES, (98, 77.9), (95, 60), "neither"),  # a loss of 20.1 is more than half of 40
        (LOSES, (55, 49), (95, 60), "neither"),  # DisMax itself has not risen
        ((90, 90), (98, 90), (95, 60), "no loss to explain"),
    ],
)
def test_the_answer_follows_the_rules_of_the_page(short, long, large, expected):
    cells = dict(zip((answer.SHORT, answer.LONG, answer.LARGE), (short, long, large), strict=True))
    pairs = {cell: dict.fromkeys((1, 2, 3), pair) for cell, pair in cells.items()}
    assert answer.answer(pairs) == expected
    del pairs[answer.LARGE][2]
    assert answer.answer(pairs) == "not decided: 2 of 3 seeds have the three pairs"


def test_seeds_that_differ_give_no_answer():
    pairs = {cell: {1: LOSES, 2: LOSES, 3: LOSES} for cell in (answer.SHORT, answer.LARGE)}
    pairs[answer.LONG] = {1: (98, 90), 2: (98, 90), 3: (98, 60)}
    expected = "not decided: schedule (seed 1), schedule (seed 2), neither (seed 3)"
    assert answer.answer(pairs) == expected


def test_a_pair_is_two_runs_that_differ_only_in_fpr():
    runs, _ = read_runs([ROOT / "results" / "schedule_or_capacity" / "runs" / "15-epochs"])
    records = [*runs.values()]
    accuracy = {
        record["config"]["loss"]: 100 * record["classification"]["test"]["t1"]["accuracy"]
        for record in records
        if record["config"]["model"] == "wideresnet102" and record["config"]["seed"] == 1
    }
    pairs = answer.pairs_of(records, answer.accuracy)
    assert pairs[answer.SHORT][1] == (accuracy["dismax_nofpr"], accuracy["dismax"])
    assert pairs[answer.LONG] == {}


def test_the_share_of_mosaics_survives_a_stop_within_an_epoch(head):
    stopped, resumed = (VARIANTS["dismax_growing"](head) for _ in range(2))
    stopped.before_epoch(5)
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.share == stopped.share == 0.2


def test_others_are_joined_as_the_combined_score_joins_three():
    data = untrained_data("dismax")
    scores = measure.scores_of(data, temperature=0.5)
    assert scores.keys() == tables.SCORES.keys()
    outputs = network_set(data.network, 2, 33).outputs
    found = {name: score.of(outputs, data.head) for name, score in scores.items()}
    own = {name: value for name, value in outputs.items() if name != "features"}
    torch.testing.assert_close(found["own"], data.head.scores(own, temperature=0.5))
    fits = {name: DETECTORS[name].fit for name in scores if name in DETECTORS} | {"own": fit_own}
    for names in measure.OTHERS:
        expected = torch.zeros(33)
        for name in names:
            member = fits[name](data)
            held_out = member(data.calibration)
            lower = (held_out <= member(SetOutputs(outputs))[:, None]).sum(1)
            expected += torch.log((1 + lower) / (1 + len(held_out)))
        torch.testing.assert_close(found[" + ".join(names)], expected)


def test_a_cell_is_the_mean_of_the_runs():
    with open(tables.MEASURED, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == "small CNN"]
    noise = [row for row in rows if (row["set"], row["score"]) == ("Noise", "knn")]
    assert len(noise) == 4 * 3  # losses and seeds
    auroc, accepted = (
        100 * mean(float(row[name]) for row in noise) for name in ("auroc", "accepted")
    )
    rows = tables.measured().query("network == 'small CNN'")
    table = tables.cells(rows, ["score"], ["set"])
    assert table.loc["KNN", "Noise"] == f"{auroc:.1f} ({accepted:.0f})"
    assert [*table.index] == [*tables.SCORES.values()]


@pytest.mark.parametrize(
    ("auroc", "accepted", "expected"),
    [
        ([90, 80], [30, 40], True),
        ([88, 77.5], [30, 40], False),  # a lower mean
        ([90, 80], [30, 51], False),  # a larger share
        ([87.1, 80], [30, 40], True),  # 7.9 behind the best, and the combined score is 7
        ([86.9, 80], [30, 40], False),  # 8.1 behind
    ],
)
def test_the_candidate_is_judged_by_the_rules_of_the_page(auroc, accepted, expected):
    shared = {"network": "n", "epochs": 1, "loss": "l", "seed": 1}
    scores = {"own": ([95, 85], [99, 99]), "combined": ([88, 78], [35, 45])}
    rows = [
        shared | {"score": score, "set": name, "auroc": a / 100, "accepted": b / 100}
        for score, columns in (scores | {"all four": (auroc, accepted)}).items()
        for name, a, b in zip(("far", "near"), *columns, strict=True)
    ]
    assert tables.holds(tables.judgement(pd.DataFrame(rows))) is expected
