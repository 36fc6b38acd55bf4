"""ensemble.py on finished runs of the digits."""

import shutil

import numpy as np
import pytest
import torch
from scipy.special import softmax

import detect
import ensemble
from detectors import DETECTORS
from experiment import predictions
from tests.finished_runs import SETS, call, contents, edit, read


def mean_probabilities(members, name):
    """The mean over members of their probabilities [N, C] for a set."""
    return np.mean(
        [softmax(member[name]["logits"].astype(float), axis=1) for member in members], axis=0
    )


def test_an_ensemble_is_the_mean_of_its_members_probabilities(runs, capsys):
    status, out, _ = call(ensemble, capsys, runs / "softmax")
    assert status == 0
    assert "Deep Ensemble of 2 (seeds 1, 2)" in out
    sets = predictions.read_predictions(runs / "ensemble" / "1+2")
    members = [predictions.read_predictions(runs / "softmax" / seed) for seed in ("1", "2")]
    for name in ("test", "validation", *SETS):
        probabilities = np.exp(sets[name]["logits"].astype(float))
        np.testing.assert_allclose(probabilities, mean_probabilities(members, name), rtol=1e-5)


def test_the_record_of_an_ensemble_describes_it(runs, capsys):
    call(ensemble, capsys, runs / "softmax")
    record = read(runs / "ensemble" / "1+2")
    members = [predictions.read_predictions(runs / "softmax" / seed) for seed in ("1", "2")]
    classes = mean_probabilities(members, "test").argmax(1)
    accuracy = (classes == members[0]["test"]["labels"]).mean()
    assert record["classification"]["test"]["t1"]["accuracy"] == pytest.approx(accuracy)
    assert set(record["detection"]["noise"]["scores"]["t1"]) == {"MPS", "ES"}
    assert record["members"] == [1, 2]
    assert record["parameters"] == 2 * read(runs / "softmax" / "1")["parameters"]


def test_a_finished_ensemble_is_skipped(runs, capsys):
    call(ensemble, capsys, runs / "softmax")
    assert "finished: skipped" in call(ensemble, capsys, runs / "softmax")[1]
    # Seed 2 is made again, with other predictions.
    path = runs / "softmax" / "2" / "predictions.npz"
    shutil.copy(runs / "softmax" / "1" / "predictions.npz", path)
    refuse(capsys, runs, [runs / "softmax"], "its members were made again since: delete it")


def test_an_ensemble_of_runs_in_folders_of_other_names_is_refused(runs, capsys):
    (runs / "softmax" / "1").rename(runs / "softmax" / "first")
    messages = ("first is not called softmax/1, so the ensemble has no place", "rename it")
    refuse(capsys, runs, [runs / "softmax"], *messages)


def test_an_ensemble_of_one_has_the_results_of_its_member(runs, capsys):
    assert call(ensemble, capsys, runs / "softmax", "--members", 2)[0] == 0
    ours, member = read(runs / "ensemble" / "2"), read(runs / "softmax" / "2")
    assert ours["temperature"]["value"] == pytest.approx(member["temperature"]["value"], rel=1e-3)
    for at in ("t1", "calibrated"):
        for name in ("MPS", "ES"):
            expected = member["misclassification"][at][name]
            assert ours["misclassification"][at][name] == pytest.approx(expected, abs=1e-3)
        metrics = ours["classification"]["test"][at]
        assert metrics == pytest.approx(member["classification"]["test"][at], abs=1e-3)
        for source in SETS:
            mps, member_mps = (
                record["detection"][source]["scores"][at]["MPS"] for record in (ours, member)
            )
            assert mps == pytest.approx(member_mps, abs=1e-3)


def test_detectors_of_logits_score_an_ensemble(runs, capsys):
    call(ensemble, capsys, runs / "softmax")
    status, _, err = call(detect, capsys, runs / "ensemble")
    assert (status, err) == (0, "")
    entries = read(runs / "ensemble" / "1+2")["detectors"]
    assert set(entries) == {name for name, row in DETECTORS.items() if row.needs == "logits"}
    assert set(entries["gen"]["sets"]) == SETS
    assert "log-probabilities" in entries["energy"]["not_applicable"]  # their energy is 0


def test_detectors_of_features_refuse_an_ensemble(runs, capsys):
    call(ensemble, capsys, runs / "softmax")
    status, _, err = call(detect, capsys, runs / "ensemble", "--scores", "vim", "gen")
    assert status == 0
    assert "which is needed for vim: left out" in err
    assert set(read(runs / "ensemble" / "1+2")["detectors"]) == {"gen"}
    status, _, err = call(detect, capsys, runs / "ensemble", "--scores", "vim")
    assert status == 2
    assert (
        "keeps neither features nor a network, which is needed for vim: take maxlogit, energy, gen"
        in err
    )


def refuse(capsys, folder, arguments, *messages):
    """Call ensemble.py with bad input: an error in one line with these messages, and no change."""
    before = contents(folder)
    status, out, err = call(ensemble, capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(message in err for message in messages), err
    assert contents(folder) == before


def test_members_with_other_losses_are_refused(runs, capsys):
    message = "members differ in nothing but the seed"
    arguments = [runs / "softmax", runs / "godin"]
    refuse(capsys, runs, arguments, message, "loss 'softmax' and 'godin'")


def test_members_with_other_networks_are_refused(runs, capsys):
    shutil.copytree(runs / "softmax" / "1", runs.parent / "other" / "3")
    edit(runs.parent / "other" / "3", lambda record: record["config"].update(model="resnet10"))
    arguments = [runs / "softmax", runs.parent / "other"]
    refuse(capsys, runs, arguments, "members differ", "model 'smallcnn' and 'resnet10'")


def test_a_member_without_a_run_is_refused(runs, capsys):
    arguments = [runs / "softmax", "--members", 1, 7]
    refuse(capsys, runs, arguments, "no finished run with seed 7", "softmax")


def test_a_folder_without_runs_is_refused(runs, capsys):
    refuse(capsys, runs, [runs / "nothing"], "no finished run in or below", "nothing")


def test_two_members_with_one_seed_are_refused(runs, capsys):
    copy = shutil.copytree(runs / "softmax" / "1", runs.parent / "copied" / "1")
    refuse(capsys, runs, [runs / "softmax", copy], "seeds are given twice", "1, 2, 1")


def test_members_with_other_images_are_refused(runs, capsys):
    fewer = shutil.copytree(runs / "softmax" / "1", runs.parent / "fewer" / "4")
    sets = predictions.read_predictions(fewer)
    sets["noise"]["logits"] = sets["noise"]["logits"][:10]
    labels = {name: arrays.pop("labels") for name, arrays in sets.items() if "labels" in arrays}
    predictions.write_predictions(fewer, sets, labels, with_features=False)

    def change(record):
        record["config"]["seed"] = 4
        record["detection"]["noise"]["n"] = 10

    edit(fewer, change)
    arguments = [runs / "softmax", fewer]
    refuse(capsys, runs, arguments, "was evaluated on other images of", "make it again")


def test_members_with_other_images_of_the_same_number_are_named(runs, capsys):
    other = shutil.copytree(runs / "softmax" / "1", runs.parent / "other" / "4")

    def change(record):
        record["config"]["seed"] = 4
        record["fingerprints"]["noise"] = "0" * 64

    edit(other, change)
    status, _, err = call(ensemble, capsys, runs / "softmax", other)
    assert status == 0
    assert f"warning: {other} had other pixels of noise than {runs / 'softmax' / '1'}" in err


def test_mean_log_probabilities_do_not_underflow():
    logits = [torch.tensor([[0.0, -2000.0]]), torch.tensor([[0.0, -1000.0]])]
    mean = ensemble.mean_log_probabilities(logits)
    assert mean.isfinite().all()
    assert mean[0, 1].item() == pytest.approx(-1000 - np.log(2))
