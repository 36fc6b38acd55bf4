"""detect.py on finished runs of the digits: what it adds to their records."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import analyze
import detect
from detectors import DETECTORS
from experiment import finished, predictions, records, search
from losses import LOSSES
from tests.finished_runs import CPU, SETS, call, contents, read
from utils import program as command_line
from utils import versions


@pytest.fixture
def softmax_run(runs):
    return runs / "softmax" / "1"


def test_every_detector_adds_an_entry_to_every_record_and_changes_nothing_else(runs, capsys):
    before = {folder: read(folder) for folder in search.run_folders([runs])}
    status, _, err = call(detect, capsys, runs, *CPU)
    assert (status, err) == (0, "")
    for folder, record in before.items():
        after = read(folder)
        assert set(after.pop("detectors")) == set(DETECTORS)
        assert after == record


def test_an_entry_has_metrics_of_every_set_or_the_reason_why_not(runs, capsys):
    _, out, _ = call(detect, capsys, runs, *CPU)
    for folder in search.run_folders([runs]):
        head = LOSSES[read(folder)["config"]["loss"]].head(4, 3)
        for name, entry in read(folder)["detectors"].items():
            title = DETECTORS[name].title
            if reason := DETECTORS[name].refuses(head):
                expected = {"title": title, "version": versions.of(name), "not_applicable": reason}
                assert entry == expected
                assert f"{title}: n/a, {reason}" in out
            else:
                assert set(entry["sets"]) == SETS
                for metrics in entry["sets"].values():
                    assert all(0 <= value <= 1 for value in metrics.values())


def test_the_energys_auroc_is_that_of_the_saved_logits(softmax_run, capsys):
    assert call(detect, capsys, softmax_run, "--scores", "energy")[0] == 0
    sets = predictions.read_predictions(softmax_run)
    energies = {
        name: np.log(np.exp(outputs["logits"].astype(float)).sum(1))
        for name, outputs in sets.items()
    }
    for source in SETS:
        scores = np.concatenate([energies["test"], energies[source]])
        is_in = np.repeat([1, 0], [len(energies["test"]), len(energies[source])])
        auroc = read(softmax_run)["detectors"]["energy"]["sets"][source]["auroc"]
        assert auroc == pytest.approx(roc_auc_score(is_in, scores), abs=1e-9)


def test_a_detector_of_logits_may_refuse_a_head(softmax_run, capsys, monkeypatch):
    row = dataclasses.replace(DETECTORS["energy"], refuses=lambda head: f"not for {type(head)}")
    monkeypatch.setitem(DETECTORS, "energy", row)
    status, _, _ = call(detect, capsys, softmax_run, "--scores", "energy", "maxlogit")
    assert status == 0
    entries = read(softmax_run)["detectors"]
    assert "SoftMaxLossFirstPart" in entries["energy"]["not_applicable"]
    assert set(entries["maxlogit"]["sets"]) == SETS


def test_the_maximum_logits_metrics_are_those_of_the_heads_mds(softmax_run, capsys):
    assert call(detect, capsys, softmax_run, "--scores", "maxlogit")[0] == 0
    record = read(softmax_run)
    for source in SETS:
        mds = record["detection"][source]["scores"]["t1"]["MDS"]
        assert record["detectors"]["maxlogit"]["sets"][source] == mds
    mds = record["misclassification"]["t1"]["MDS"]
    assert record["detectors"]["maxlogit"]["misclassification"] == mds


def test_odin_without_perturbation_at_temperature_1_is_mps(softmax_run, capsys):
    constants = ("--epsilon", 0, "--temperature", 1)
    assert call(detect, capsys, softmax_run, "--scores", "odin", *constants, *CPU)[0] == 0
    record = read(softmax_run)
    odin = record["detectors"]["odin"]
    for source in SETS:
        mps = record["detection"][source]["scores"]["t1"]["MPS"]
        assert odin["sets"][source]["auroc"] == pytest.approx(mps["auroc"], abs=1e-4)
    assert odin["parameters"] == odin["constants"] == {"epsilon": 0.0, "temperature": 1.0}


@pytest.mark.parametrize(
    ("options", "odin", "preprocessing"),
    [
        ((), "ODIN", "own, perturbed"),
        (("--epsilon", "0.0014", "--temperature", "1000"), "ODIN", "own, perturbed, ε 0.0014"),
        (("--epsilon", "chosen"), "ODIN, ε chosen", "own, perturbed"),
        (
            ("--epsilon", "0.01", "--temperature", "10"),
            "ODIN, ε 0.01, T 10",
            "own, perturbed, ε 0.01",
        ),
        (
            ("--epsilon", "0.01234567", "--temperature", "123456.7"),
            "ODIN, ε 0.01234567, T 123456.7",
            "own, perturbed, ε 0.01234567",
        ),
    ],
)
def test_a_title_names_the_constants_that_are_not_the_defaults(options, odin, preprocessing):
    parsed = command_line.read(detect.Options, "detect.py", ["runs", *options])
    parsed.check()
    detectors = parsed.detectors()
    assert detectors["odin"].title == odin
    assert detectors["preprocessing"].title == preprocessing


def test_runs_scored_with_other_constants_have_rows_of_their_own(runs, capsys):
    """ODIN's and GODIN's rows are not averaged over constants."""
    shutil.copytree(runs / "godin" / "1", runs / "godin" / "2")
    record = read(runs / "godin" / "2")
    record["config"]["seed"] = 2
    records.write_json(runs / "godin" / "2" / records.METRICS, record)
    for seed, epsilon in (("1", "chosen"), ("2", "0.01")):
        options = ("--scores", "odin", "preprocessing", "--epsilon", epsilon, *CPU)
        assert call(detect, capsys, runs / "godin" / seed, *options)[0] == 0
    status, out, _ = call(
        analyze, capsys, "--runs", runs / "godin", "--format", "markdown", "--detail"
    )
    assert status == 0
    cells = {cell.strip() for line in out.splitlines() for cell in line.split("|")}
    titles = ("ODIN, ε chosen", "ODIN, ε 0.01", "own, perturbed", "own, perturbed, ε 0.01")
    assert {f"{title} (at T = 1)" for title in titles} <= cells
    assert {"GODIN, preprocessing (n=1)", "GODIN, preprocessing, ε 0.01 (n=1)"} <= cells


def test_inputs_can_be_turned_back_into_pixels(softmax_run):
    run = finished.FinishedRun(softmax_run, torch.device("cpu"), Path("data/downloads"))
    data, _ = run.outputs({"network"})
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    pixels = torch.cat(list(data.calibration.batches())) * std + mean
    assert (pixels.min().item(), pixels.max().item()) == pytest.approx((0, 1), abs=1e-6)


def test_saved_features_need_no_images(runs, capsys, monkeypatch):
    monkeypatch.setattr(finished, "load_data", None)
    assert call(detect, capsys, runs / "dismax" / "1", "--scores", "knn", *CPU)[0] == 0


def test_saved_features_give_the_same_as_the_network(runs, capsys):
    folder = runs / "dismax" / "1"
    names = ("knn", "mahalanobis", "react")
    assert call(detect, capsys, folder, "--scores", *names, *CPU)[0] == 0
    from_saved = read(folder)["detectors"]
    sets = predictions.read_predictions(folder)
    assert sets.pop("train")["features"].shape == (180, 64)
    predictions.write_predictions(folder, sets, {}, with_features=False)
    assert call(detect, capsys, folder, "--scores", *names, *CPU)[0] == 0
    for name in names:
        for source, metrics in read(folder)["detectors"][name]["sets"].items():
            assert metrics == pytest.approx(from_saved[name]["sets"][source], abs=2e-3)


def test_entries_of_two_calls_add_up(softmax_run, capsys):
    call(detect, capsys, softmax_run, "--scores", "energy")
    first = read(softmax_run)["detectors"]["energy"]
    call(detect, capsys, softmax_run, "--scores", "gen")
    assert read(softmax_run)["detectors"]["energy"] == first
    assert set(read(softmax_run)["detectors"]) == {"energy", "gen"}


def score_with_features(capsys, folder, name, features):
    """Call detect.py for ViM after the saved features of a set were replaced."""
    sets = predictions.read_predictions(folder)
    sets[name]["features"] = features
    predictions.write_predictions(folder, sets, {}, with_features=True)
    return call(detect, capsys, folder, "--scores", "vim")


def test_a_score_that_is_not_finite_is_an_error(runs, capsys):
    folder = runs / "softmax" / "2"
    features = predictions.read_predictions(folder)["noise"]["features"]
    features[3, 2] = np.nan
    status, _, err = score_with_features(capsys, folder, "noise", features)
    assert status == 2
    assert f"{folder}: ViM has no finite score for 1 of {len(features)} images of noise" in err
    assert "detectors" not in read(folder)


def test_a_detector_that_cannot_be_fitted_is_not_applicable(runs, capsys):
    folder = runs / "softmax" / "2"
    features = predictions.read_predictions(folder)["train"]["features"]
    # Features that are all equal have nothing outside their principal subspace.
    status, out, _ = score_with_features(capsys, folder, "train", np.ones_like(features))
    assert status == 0
    assert "ViM: n/a, ViM needs training features of more than" in out
    assert set(read(folder)["detectors"]["vim"]) == {"title", "version", "not_applicable"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no runs given"),
        (["RUNS/nothing"], "no finished run in or below"),
        (
            ["RUN", "--scores", "enerji"],
            "unknown detector 'enerji': choose from maxlogit, energy",
        ),
        (["RUN", "--scores", "ash"], "unknown detector 'ash': choose from maxlogit, energy"),
        (
            ["RUN", "--epsilon", "1"],
            "--epsilon is for pixels in [0, 1]: 0 or more and below 1, got 1.0",
        ),
        (["RUN", "--epsilon", "nan"], "got nan"),
        (
            ["RUN", "--epsilon", "choose"],
            "Error parsing --epsilon: no type matching {None}|FLOAT|{chosen}",
        ),
        (
            ["RUN", "--scores", "energy", "knn", "--epsilon", "0.01"],
            "--epsilon is no constant of energy, knn: leave it out",
        ),
        (
            ["RUN", "--scores", "preprocessing", "--temperature", "5"],
            "--temperature is no constant of preprocessing",
        ),
        (["RUN", "--temperature", "0"], "--temperature is a number in 0.001 to 1,000,000, got 0.0"),
        (
            ["RUN", "RUNS/godin/1", "--scores", "knn"],
            "keeps neither features nor a network, which is needed for knn: take",
        ),
        (["RUN", "--device", "abacus"], "--device abacus cannot be used here"),
    ],
)
def test_bad_input_is_an_error_in_one_line_and_changes_nothing(runs, capsys, arguments, message):
    (runs / "godin" / "1" / records.MODEL).unlink()
    before = contents(runs)
    places = {"RUN": runs / "softmax" / "1"}
    given = [places.get(word, word.replace("RUNS", str(runs))) for word in arguments]
    status, out, err = call(detect, capsys, *given)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert contents(runs) == before


@pytest.mark.parametrize(
    "device",
    [
        "privateuseone",
        "hpu",
        "meta",
        "xla",
        "ideep",
        "cpu:7x",
        "",
        "cuda:99999999999",
        "cuda:-1",
        "lazy",
    ],
)
def test_a_device_that_is_not_there_is_an_error_in_one_line(softmax_run, capsys, device):
    options = ("--scores", "energy", "--device", device)
    status, out, err = call(detect, capsys, softmax_run, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert " ".join(f"--device {device} cannot be used here".split()) in err
