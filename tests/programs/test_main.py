"""main.py on the built-in digits: what a run writes."""

import json
import math

import numpy as np
import pytest
import torch

import losses
from data.batches import Normalizer
from experiment import lock, records
from experiment.config import RunConfig
from experiment.data import load_data
from losses import LOSSES
from models import build_model
from tests.common import QUICK, record_of, run_folder, without_times
from training import checkpoint, run
from training.trainer import Trainer
from utils.failures import misclassification_metrics, ood_aurc
from utils.metrics import accuracy, detection_metrics, expected_calibration_error

CPU = torch.device("cpu")


def saved_weights(folder):
    """The weights in a run's model.pt."""
    return checkpoint.load(folder / records.MODEL)["state_dict"]


def assert_settings_are_the_protocols(record, protocol):
    split = {"heldout": "validation", "paper": "test"}[protocol]
    assert record["temperature"]["split"] == split
    assert record["best"]["split"] == split
    assert record["scores_at"] == {"heldout": "calibrated", "paper": "t1"}[protocol]
    assert record["train_images"] == {"heldout": 180, "paper": 721}[protocol]


def assert_classification_follows_from(predictions, record):
    temperature = record["temperature"]["value"]
    logits = predictions["test/logits"].astype(np.float64)
    labels = predictions["test/labels"]
    results = record["classification"]["test"]
    assert results["t1"]["accuracy"] == accuracy(logits, labels)
    ece = expected_calibration_error(logits, labels)
    assert results["t1"]["ece"] == pytest.approx(ece, abs=1e-12)
    ece = expected_calibration_error(logits / temperature, labels)
    assert results["calibrated"]["ece"] == pytest.approx(ece, abs=1e-12)


def assert_detection_follows_from(predictions, record, own_scores):
    temperature = record["temperature"]["value"]
    wrong = predictions["test/logits"].argmax(1) != predictions["test/labels"]
    for source, role in (("digits89", "near"), ("photos", "far"), ("noise", "very_far")):
        detection = record["detection"][source]
        assert detection["role"] == role
        for at, divisor in (("t1", 1.0), ("calibrated", temperature)):
            results = detection["scores"][at]
            assert set(results) == {*losses.scores.SCORES, *own_scores}
            for score, function in losses.scores.SCORES.items():
                inside = function(torch.tensor(predictions["test/logits"]).double() / divisor)
                outside = function(torch.tensor(predictions[f"{source}/logits"]).double() / divisor)
                expected = detection_metrics(inside, outside)
                assert results[score] == expected | {"aurc": ood_aurc(inside, wrong, outside)}
                misclassification = record["misclassification"][at][score]
                assert misclassification == misclassification_metrics(inside, wrong)


def assert_best_epoch_follows_from(epochs, record):
    best = record["best"]
    # The device counted this accuracy.
    assert best["accuracy"] == record["classification"][best["split"]]["t1"]["accuracy"]
    accuracy_name = f"{best['split']}_accuracy"
    last_of_the_best = max(epochs, key=lambda epoch: (epoch[accuracy_name], epoch["epoch"]))
    assert best["epoch"] == last_of_the_best["epoch"]


@pytest.mark.parametrize(
    ("loss", "protocol"), [*((loss, "heldout") for loss in LOSSES), ("dismax", "paper")]
)
def test_a_record_follows_from_the_other_files_of_its_run(run_main, tmp_path, loss, protocol):
    status, _, err = run_main("--loss", loss, "--protocol", protocol, *QUICK)
    assert status == 0
    assert err == ""
    folder = run_folder(tmp_path, loss)
    names = {records.CONFIG, records.EPOCHS, records.METRICS, records.MODEL, records.PREDICTIONS}
    assert {path.name for path in folder.iterdir()} == {*names, lock.LOCK, lock.HOLDER}
    record = record_of(tmp_path, loss)
    predictions = np.load(folder / records.PREDICTIONS)
    epochs = [json.loads(line) for line in (folder / records.EPOCHS).read_text().splitlines()]
    assert_settings_are_the_protocols(record, protocol)
    assert_classification_follows_from(predictions, record)
    assert_best_epoch_follows_from(epochs, record)

    # The saved network, loaded in the way of a user.
    saved = checkpoint.load(folder / records.MODEL)
    model = LOSSES[loss].wrap(build_model("smallcnn", 8, LOSSES[loss].head))
    model.load_state_dict(saved["state_dict"])
    model.eval()
    assert_detection_follows_from(predictions, record, model.classifier.own_scores)
    config = RunConfig(data="digits", protocol=protocol, epochs=3, model="smallcnn")
    evaluation = load_data(config).evaluation
    normalize = Normalizer(saved["mean"], saved["std"], CPU)

    # It gives the stored logits divided by its temperature.
    expected = predictions["test/logits"].astype(np.float64) / record["temperature"]["value"]
    logits = model(normalize(evaluation["test"].pixels)).detach()
    torch.testing.assert_close(logits, torch.tensor(expected).float(), rtol=1e-4, atol=1e-3)

    # Its threshold accepts 95% of the images of the calibration split.
    inputs = normalize(evaluation[record["temperature"]["split"]].pixels)
    scores = model.classifier.scores(model.classifier.named_outputs(model.forward_features(inputs)))
    threshold = model.classifier.threshold(0.95)
    assert (scores >= threshold - 1e-3).float().mean() >= 0.95


def test_the_same_seed_gives_the_same_record_and_weights(run_main, tmp_path):
    run_main(*QUICK)
    first = without_times(record_of(tmp_path))
    weights = saved_weights(run_folder(tmp_path))
    (tmp_path / "runs").rename(tmp_path / "earlier")
    torch.manual_seed(99)  # numbers that were drawn before have no influence
    run_main(*QUICK)
    assert without_times(record_of(tmp_path)) == first
    again = saved_weights(run_folder(tmp_path))
    assert all(weights[name].equal(again[name]) for name in weights)


def test_another_seed_gives_another_record(run_main, tmp_path):
    run_main(*QUICK)
    run_main(*QUICK, "--seed", "2")
    second = without_times(record_of(tmp_path, seed=2))
    assert second != without_times(record_of(tmp_path))


def test_the_last_of_several_best_epochs_is_saved(run_main, tmp_path, monkeypatch):
    run_epoch = Trainer.run_epoch
    weights_after = []
    accuracies = iter([0.5, 0.9, 0.9, 0.7])

    def run_epoch_and_copy(trainer, report):
        summary = run_epoch(trainer, report)
        weights = trainer.model.body.state_dict()
        weights_after.append({name: value.clone() for name, value in weights.items()})
        return summary

    monkeypatch.setattr(Trainer, "run_epoch", run_epoch_and_copy)
    monkeypatch.setattr(run.Run, "accuracy", lambda *_: next(accuracies))
    run_main("--epochs", "4")
    assert record_of(tmp_path)["best"] == {"epoch": 3, "accuracy": 0.9, "split": "validation"}
    saved = saved_weights(run_folder(tmp_path))
    for name, value in weights_after[2].items():
        assert saved[f"body.{name}"].equal(value)
    assert not saved["body.0.weight"].equal(weights_after[3]["0.weight"])


def test_a_run_on_the_users_own_images(run_main, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "mine"
    folder.mkdir()
    for split in ("train", "test"):
        images = rng.integers(0, 256, (80, 12, 12, 3)).astype(np.uint8)
        labels = np.arange(80) % 2
        images[labels == 1] //= 2
        np.savez(folder / f"{split}.npz", images=images, labels=labels)
    ood_file = tmp_path / "out.npz"
    np.savez(ood_file, images=rng.integers(0, 256, (30, 9, 9, 3)).astype(np.uint8))
    status, _, err = run_main(
        "--data", str(folder), "--model", "smallcnn", "--ood", f"near={ood_file}", "noise", *QUICK
    )
    assert status == 0
    assert err == ""
    record = records.read_record(
        tmp_path / "runs" / "mine" / "smallcnn" / "dismax" / "1" / records.METRICS
    )
    roles = {source: detection["role"] for source, detection in record["detection"].items()}
    assert roles == {str(ood_file): "near", "noise": "very_far"}
    assert record["titles"]["data"] == "mine"


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp16", marks=pytest.mark.slow)])
def test_a_run_in_a_lower_precision(run_main, tmp_path, precision):
    status, _, err = run_main("--precision", precision, "--epochs", "10")
    assert status == 0
    assert err == ""
    assert record_of(tmp_path)["classification"]["test"]["t1"]["accuracy"] > 0.5


def test_a_network_with_nan_after_the_last_step_of_an_epoch_is_an_error(run_main, monkeypatch):
    run_epoch = Trainer.run_epoch

    def run_epoch_and_break(trainer, report):
        summary = run_epoch(trainer, report)
        with torch.no_grad():
            next(trainer.model.parameters()).fill_(math.nan)
        return summary

    monkeypatch.setattr(Trainer, "run_epoch", run_epoch_and_break)
    status, _, err = run_main(*QUICK)
    assert status == 1
    assert "error: the logits became NaN or infinite by the end of epoch 1" in err
    assert err.count("\n") == 1


def test_a_finished_run_from_before_an_option_is_skipped(run_main, tmp_path):
    assert run_main(*QUICK)[0] == 0
    folder = run_folder(tmp_path)
    for name in (records.CONFIG, records.METRICS):
        content = json.loads((folder / name).read_text())
        config = content if name == records.CONFIG else content["config"]
        for option in ("freeze", "size", "weights"):
            del config[option]
        (folder / name).write_text(json.dumps(content))
    status, out, err = run_main(*QUICK)
    assert (status, err) == (0, "")
    assert out == f"{folder} is finished: skipped\n"
