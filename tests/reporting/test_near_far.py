"""The table of the means of near and far sets."""

from reporting.near_far import near_far_table
from reporting.text_table import terminal_table


def record_with_sets(score, values):
    """A record with one set for each (role, metrics at T = 1, metrics at the fitted T).

    The metrics of a set are (AUROC, FPR@95).
    """
    detection = {}
    for number, (role, *both) in enumerate(values):
        metrics = [{"auroc": auroc, "fpr95_out": rate} for auroc, rate in both]
        scores = {"t1": {score: metrics[0]}, "calibrated": {score: metrics[1]}}
        detection[str(number)] = {"role": role, "scores": scores}
    return {"score": score, "detection": detection}


METRICS = [("near", (0.9, 0.5)), ("near", (0.8, 0.4)), ("far", (1.0, 0.0)), ("far", (0.7, 0.0))]
ALIKE = [(role, metrics, metrics) for role, metrics in METRICS]


def test_a_method_has_a_row_for_each_temperature_if_the_numbers_differ():
    changed = [(role, one, (one[0] - 0.1, one[1] + 0.1)) for role, one in METRICS]
    runs = [
        ("SoftMax", record_with_sets("MPS", changed)),
        ("IsoMax+", record_with_sets("MDS", ALIKE)),
    ]
    runs += [
        ("SoftMax", record_with_sets("MPS", changed)),
        ("No far set", record_with_sets("MPS", ALIKE[:2])),
    ]
    softmax = (
        ["85.0±.0", "45.0±.0", "85.0±.0", "0.0±.0"],
        ["75.0±.0", "55.0±.0", "75.0±.0", "10.0±.0"],
    )
    assert near_far_table(runs).rows == [
        ["SoftMax", "MPS, T = 1 (MSP)", "2", *softmax[0]],
        ["SoftMax", "MPS, fitted T (TempScale)", "2", *softmax[1]],
        ["IsoMax+", "MDS", "1", "85.0", "45.0", "85.0", "0.0"],
    ]


def test_one_set_of_each_kind_is_a_pair_and_a_very_far_set_is_far():
    values = [ALIKE[0], ("very_far", (0.6, 0.2), (0.6, 0.2))]
    row = ["IsoMax+", "MDS", "1", "90.0", "50.0"]

    def rows_of(values):
        return near_far_table([("IsoMax+", record_with_sets("MDS", values))]).rows

    assert rows_of(values) == [[*row, "60.0", "20.0"]]
    values.append(("far", (0.8, 0.0), (0.8, 0.0)))
    assert rows_of(values) == [[*row, "70.0", "10.0"]]


def test_one_value_of_one_run_that_differs_gives_two_rows():
    values = [*ALIKE[:3], ("far", (0.7, 0), (0.7, 0.01))]
    runs = [("DisMax", record_with_sets("MMLES", each)) for each in (ALIKE, values)]
    assert [row[:3] for row in near_far_table(runs).rows] == [
        ["DisMax", "MMLES, T = 1", "2"],
        ["DisMax", "MMLES, fitted T", "2"],
    ]


def test_without_runs_there_are_no_rows():
    assert near_far_table([]).rows == []


def test_the_groups_table_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    scores = {"SoftMax": "MPS", "Deep Ensemble of 10": "MPS", "DisMax without FPR": "MMLES"}
    scores |= {"GODIN, inner product": "max h"}
    values = [(role, (1.0, 1.0), (0.5, 0.5)) for role, _ in METRICS]
    worse = [(role, (0.0, 0.0), (0.9, 0.9)) for role, _ in METRICS]
    runs = [
        (name, record_with_sets(scores[name], each)) for each in (values, worse) for name in scores
    ]
    out = terminal_table(near_far_table(runs))
    assert max(map(len, out.splitlines())) <= 80
    for text in ("MPS, fitted T", "(TempScale)", "MMLES, fitted T", "50.0±70.7"):
        assert text in out
