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
from reporting.runs import group_runs
from tests.elsewhere import NAMES, outputs, write
from tests.finished_runs import call, read
from utils import versions


@pytest.fixture
def softmax_run(runs):
    return runs / "softmax" / "1"


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


def test_a_method_that_is_called_as_a_part_of_ours_has_none_of_its_versions(tmp_path, capsys):
    path = write(tmp_path / "x.npz", outputs())
    given = ("--method", "ODIN", "--data", "My Data", "--model", "Net")
    assert call(evaluate, capsys, path, *given, "--runs", tmp_path / "runs")[0] == 0
    record = read(tmp_path / "runs" / "my_data" / "net" / "odin" / "1")
    assert record["config"]["versions"] == {}


def test_a_method_is_in_the_table_of_a_run_of_an_older_version(
    softmax_run, runs, capsys, monkeypatch
):
    monkeypatch.setitem(versions.CHANGES, "smallcnn", (versions.Change("it is deeper"),))
    given = (softmax_run / records.PREDICTIONS, "--method", "Mine", "--like", softmax_run)
    assert call(evaluate, capsys, *given, "--runs", runs.parent.parent)[0] == 0
    groups = group_runs({folder: read(folder) for folder in (softmax_run, runs / "mine" / "1")})
    (group,) = groups
    assert "it is deeper" in group.how


def test_without_validation_images_the_temperature_is_fitted_to_the_test_set(tmp_path, capsys):
    path = write(tmp_path / "x.npz", outputs(validation=0))
    assert call(evaluate, capsys, path, *NAMES, "--runs", tmp_path / "runs")[0] == 0
    record = read(tmp_path / "runs" / "my_data" / "net_1" / "mine" / "1")
    assert (record["temperature"]["split"], record["scores_at"]) == ("test", "t1")
    assert record["config"]["protocol"] == "paper"
    assert {entry["role"] for entry in record["detection"].values()} == {"far"}


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


@pytest.mark.parametrize("kind", [np.uint16, np.uint64, ">i4", np.int8])
def test_labels_may_be_whole_numbers_of_any_type(tmp_path, capsys, kind):
    arrays = outputs()
    labels = {name: array.astype(kind) for name, array in arrays.items() if "labels" in name}
    path = write(tmp_path / "x.npz", arrays | labels)
    assert call(evaluate, capsys, path, *NAMES, "--runs", tmp_path / "runs")[0] == 0
