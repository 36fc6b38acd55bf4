"""evaluate.py: outputs of other programs become runs."""

import json

import numpy as np
import pytest
import torch

import analyze
import detect
import ensemble
import evaluate
from experiment import predictions, records
from losses.scores import maximum_probability
from tests.finished_runs import call, contents, read


@pytest.fixture
def softmax_run(runs):
    return runs / "softmax" / "1"


def outputs(seed=0, classes=3, **sets):
    """Random outputs as a file has them."""
    rng = np.random.default_rng(seed)
    counts = {"test": 40, "validation": 30, "near": 20, "far": 20} | sets
    arrays = {f"{name}/logits": rng.normal(size=(n, classes)) for name, n in counts.items() if n}
    for name in ("test", "validation"):
        if counts[name]:
            arrays[f"{name}/labels"] = rng.integers(0, classes, counts[name])
    return arrays


def write(path, arrays):
    np.savez(path, **arrays)
    return path


NAMES = ("--method", "Mine", "--data", "My Data", "--model", "Net/1")


def test_the_outputs_of_a_run_give_its_numbers_in_its_table(softmax_run, runs, capsys):
    given = (softmax_run / records.PREDICTIONS, "--method", "My method", "--like", softmax_run)
    status, out, err = call(evaluate, capsys, *given, "--runs", runs.parent.parent)
    assert (status, err) == (0, "")
    folder = runs / "my_method" / "1"
    assert f"written to {folder}" in out
    own, made = read(softmax_run), read(folder)
    names = ("classification", "misclassification", "detection", "temperature", "score")
    for name in (*names, "scores_at"):
        if name == "classification":
            assert made[name]["test"] == own[name]["test"]
        else:
            assert made[name] == own[name]
    _, out, _ = call(
        analyze, capsys, "--runs", runs.parent.parent, "--format", "markdown", "--detail"
    )
    main_table = out.split("every score")[0]
    assert "precision fp32, My method trained elsewhere" in " ".join(out.split())
    assert {line.split("|")[1].strip() for line in main_table.splitlines() if "(n=" in line} == {
        *("SoftMax (n=2)", "DisMax (n=1)", "GODIN (n=1)", "My method (n=1)")
    }
    assert call(detect, capsys, folder, "--scores", "energy", "maxlogit")[0] == 0
    assert call(detect, capsys, softmax_run, "--scores", "energy", "--device", "cpu")[0] == 0
    energy, own_energy = (read(each)["detectors"]["energy"] for each in (folder, softmax_run))
    assert energy["sets"] == own_energy["sets"]


def test_a_method_from_elsewhere_has_a_table_of_its_own_with_its_own_score(tmp_path, capsys):
    files = []
    for seed in (0, 1):
        arrays = outputs(seed)
        for name in ("test", "validation", "near", "far"):
            # The opposite of MPS, so that no score of logits is the same.
            logits = torch.from_numpy(arrays[f"{name}/logits"])
            arrays[f"{name}/score"] = -maximum_probability(logits).numpy()
        files.append(write(tmp_path / f"{seed}.npz", arrays))
    options = (*NAMES, "--ood", "near=near", "far=far", "--seeds", "7", "8")
    status, _, err = call(evaluate, capsys, *files, *options, "--runs", tmp_path / "runs")
    assert (status, err) == (0, "")
    record = read(tmp_path / "runs" / "my_data" / "net_1" / "mine" / "8")
    assert record["titles"] == {"data": "My Data", "model": "Net/1", "loss": "Mine"}
    assert record["score"] == "score"
    scores = record["detection"]["near"]["scores"]["t1"]
    assert scores["score"]["auroc"] == pytest.approx(1 - scores["MPS"]["auroc"])
    assert record["detection"]["near"]["role"] == "near"
    status, out, err = call(analyze, capsys, "--runs", tmp_path / "runs")
    assert (status, err) == (0, "")
    assert "My Data, Net/1\nheldout protocol, trained elsewhere, scores at the fitted T" in out
    assert "(n=2)" in out


def test_without_validation_images_the_temperature_is_fitted_to_the_test_set(tmp_path, capsys):
    path = write(tmp_path / "x.npz", outputs(validation=0))
    assert call(evaluate, capsys, path, *NAMES, "--runs", tmp_path / "runs")[0] == 0
    record = read(tmp_path / "runs" / "my_data" / "net_1" / "mine" / "1")
    assert (record["temperature"]["split"], record["scores_at"]) == ("test", "t1")
    assert record["config"]["protocol"] == "paper"
    assert {entry["role"] for entry in record["detection"].values()} == {"far"}


def test_the_same_file_is_skipped_and_another_one_is_refused(tmp_path, capsys):
    path = write(tmp_path / "x.npz", outputs())
    given = (path, *NAMES, "--runs", tmp_path / "runs")
    assert call(evaluate, capsys, *given)[0] == 0
    before = contents(tmp_path / "runs")
    status, out, _ = call(evaluate, capsys, *given)
    assert status == 0
    assert "is finished: skipped" in out
    write(path, outputs(5))
    status, _, err = call(evaluate, capsys, *given)
    assert (status, err.count("\n")) == (2, 1)
    assert "holds another run" in err
    assert contents(tmp_path / "runs") == before


def without(name):
    return lambda arrays: arrays.pop(name)


def put(name, value):
    return lambda arrays: arrays.__setitem__(name, np.asarray(value))


BAD = {
    "no test logits": (without("test/logits"), "the logits of test are no finite numbers"),
    "no labels": (without("test/labels"), "lacks test/logits or test/labels"),
    "NaN": (put("far/logits", np.full((20, 3), np.nan)), "the logits of far are no finite"),
    "other classes": (put("far/logits", np.zeros((20, 4))), "far/logits has 4 classes, test/lo"),
    "labels of 1 to 3": (put("test/labels", np.full(40, 3)), "are classes in 0 to 2, got 3 to 3"),
    "labels as text": (put("test/labels", ["a"] * 40), "test/labels holds no numbers"),
    "too few labels": (put("test/labels", [0]), "labels are 40 whole numbers"),
    "too few scores": (put("far/score", [0.5]), "far/score has 1 rows, its logits 20"),
    "scores of one set": (put("far/score", np.ones(20)), "lacks test/score: every set needs it"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_evaluated_is_refused_in_one_line(tmp_path, capsys, case):
    change, message = BAD[case]
    arrays = outputs()
    change(arrays)
    path = write(tmp_path / "x.npz", arrays)
    status, _, err = call(evaluate, capsys, path, *NAMES, "--runs", tmp_path / "runs")
    assert (status, err.count("\n")) == (2, 1)
    assert str(path) in err
    assert message in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "x"), "name either --like RUN, or both --data and --model"),
        (("--method", "x", "--data", "y"), "--model is a name with a letter or digit, got None"),
        ((*NAMES, "--method", "..."), "--method is a name with a letter or digit, got '...'"),
        ((*NAMES, "--seeds", "1", "2"), "--seeds names 2 for 1 files: one for each"),
        ((*NAMES, "--seeds", "-1"), "--seeds are different numbers, 0 or more"),
        ((*NAMES, "--ood", "near=x"), "has no set 'x', only near, far"),
        ((*NAMES, "--score", "mps"), "--score is one of score, MPS, ES, MDS, "),
        ((*NAMES, "--score", "score"), "lacks test/score: every set needs it, or none"),
        (("--method", "x", "--like", "nowhere"), "--like nowhere is no folder of a finished run"),
    ],
)
def test_bad_options_are_refused_in_one_line(tmp_path, capsys, options, message):
    path = write(tmp_path / "x.npz", outputs())
    status, _, err = call(evaluate, capsys, path, *options, "--runs", tmp_path / "runs")
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_predictions_can_be_read_back(tmp_path, capsys):
    arrays = outputs()
    path = write(tmp_path / "x.npz", arrays)
    assert call(evaluate, capsys, path, *NAMES, "--runs", tmp_path / "runs")[0] == 0
    folder = tmp_path / "runs" / "my_data" / "net_1" / "mine" / "1"
    record = json.loads((folder / records.METRICS).read_text())
    kept = predictions.predictions_of(folder, record)
    for name, value in arrays.items():
        place, _, output = name.partition("/")
        np.testing.assert_array_equal(kept[place][output], value)


def test_a_report_shows_it_without_curves_and_images(softmax_run, runs, tmp_path, capsys):
    given = (softmax_run / records.PREDICTIONS, "--method", "Mine", "--like", softmax_run)
    assert call(evaluate, capsys, *given, "--runs", runs.parent.parent)[0] == 0
    folder = runs.parent.parent
    status, out, err = call(analyze, capsys, "--runs", folder, "--report", tmp_path / "report")
    assert (status, err) == (0, "")
    assert "lack" not in out
    assert "Mine" in (tmp_path / "report" / "index.html").read_text()


def test_its_seeds_can_be_joined_in_an_ensemble(tmp_path, capsys):
    files = [write(tmp_path / f"{seed}.npz", outputs()) for seed in (1, 2)]
    np.savez(files[1], **outputs() | {"far/logits": np.ones((20, 3))})
    assert call(evaluate, capsys, *files, *NAMES, "--runs", tmp_path / "runs")[0] == 0
    place = tmp_path / "runs" / "my_data" / "net_1"
    status, _, err = call(ensemble, capsys, place / "mine")
    assert (status, err) == (0, "")
    record = read(place / "ensemble_mine" / "1+2")
    assert record["titles"]["loss"] == "Deep Ensemble, Mine"
    status, out, err = call(analyze, capsys, "--runs", tmp_path / "runs")
    assert (status, err) == (0, "")
    assert "of 2" in out


def test_kept_features_give_the_detectors_of_features_without_a_network(runs, capsys):
    run = runs / "softmax" / "2"  # it keeps its features
    given = (run / records.PREDICTIONS, "--method", "Mine", "--like", run)
    assert call(evaluate, capsys, *given, "--runs", runs.parent.parent)[0] == 0
    folder, chosen = runs / "mine" / "1", ("knn", "mahalanobis", "energy")
    for each in (run, folder):
        status, _, err = call(detect, capsys, each, "--scores", *chosen, "--device", "cpu")
        assert (status, err) == (0, "")
    made, own = read(folder)["detectors"], read(run)["detectors"]
    assert {name: made[name]["sets"] for name in chosen} == {
        name: own[name]["sets"] for name in chosen
    }
    # A detector that needs the head says so; one that needs the network is not among the default.
    status, out, err = call(detect, capsys, folder)
    assert (status, err) == (0, "")
    assert "ReAct: n/a, this detector needs the head" in out
    assert "odin" not in read(folder)["detectors"]
    status, _, err = call(detect, capsys, folder, "--scores", "odin")
    assert status == 2
    assert "keeps no network, which is needed for odin: take maxlogit, energy, gen, knn" in err


def hostile(name, value):
    def change(arrays):
        arrays[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (hostile("far/score", np.float64(3)), "far/score has no rows"),
        (hostile("far/score", np.zeros((20, 1))), r"far/score is [N], got [20, 1]"),
        (hostile("far/features", np.zeros(20)), r"far/features is [N, D], got [20]"),
        (hostile("test/features", np.zeros((40, 3))), "differ in their width: [2, 3]"),
        (hostile("near/features", np.full((20, 2), np.nan)), "near/features is not finite"),
        (hostile("near/features", np.zeros((20, 2), np.longdouble)), "holds no numbers"),
    ],
)
def test_outputs_beside_the_logits_are_checked(tmp_path, capsys, change, message):
    arrays = outputs() | {"far/features": np.zeros((20, 2))}
    change(arrays)
    path = write(tmp_path / "x.npz", arrays)
    status, _, err = call(evaluate, capsys, path, *NAMES, "--runs", tmp_path / "runs")
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", [np.uint16, np.uint64, ">i4", np.int8])
def test_labels_may_be_whole_numbers_of_any_type(tmp_path, capsys, kind):
    arrays = outputs()
    labels = {name: array.astype(kind) for name, array in arrays.items() if "labels" in name}
    path = write(tmp_path / "x.npz", arrays | labels)
    assert call(evaluate, capsys, path, *NAMES, "--runs", tmp_path / "runs")[0] == 0


def test_what_would_mix_up_a_table_is_refused(softmax_run, runs, tmp_path, capsys):
    path = write(tmp_path / "x.npz", outputs())
    where = ("--runs", tmp_path / "runs")
    for options, message in (
        (("--method", "SoftMax", "--data", "d", "--model", "m"), "is a loss of main.py"),
        ((path, *NAMES), "two of the files are equal"),
        (("--method", "Mine", "--like", softmax_run), "images of test, and the run of --like has"),
        ((*NAMES, "--ood", "near=far", "far=far"), "--ood names a set twice"),
    ):
        status, _, err = call(evaluate, capsys, path, *options, *where)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err
    assert call(evaluate, capsys, path, *NAMES, *where)[0] == 0
    status, _, err = call(evaluate, capsys, path, *NAMES, "--score", "ES", *where)
    assert status == 2
    assert "has these outputs with --method 'Mine' and --score MPS" in err


def test_all_seeds_of_a_method_have_one_score_and_outputs_of_their_own(tmp_path, capsys):
    where = ("--runs", tmp_path / "runs")
    first = write(tmp_path / "1.npz", outputs(1))
    assert call(evaluate, capsys, first, *NAMES, *where)[0] == 0
    given = outputs(2)
    given |= {key.replace("logits", "score"): x.max(1) for key, x in given.items() if x.ndim == 2}
    second = write(tmp_path / "2.npz", given)
    other = ("--seeds", 2, *where)
    for path, message in (
        (second, "has the score MPS, this file score; all seeds of a method have the same"),
        (first, "1 has these outputs: each seed has outputs of its own"),
    ):
        status, _, err = call(evaluate, capsys, path, *NAMES, "--method", "mine", *other)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err
    assert call(evaluate, capsys, second, *NAMES, "--score", "MPS", *other)[0] == 0
