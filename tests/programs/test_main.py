"""main.py end to end on the built-in digits, and its messages for bad input."""

import json
import math
import platform

import numpy as np
import pytest
import torch

import losses
import main
from data.batches import Normalizer
from experiment import lock, records
from experiment.config import RunConfig
from experiment.data import load_data
from losses import LOSSES
from models import build_model
from tests.common import QUICK, record_of, without_times
from training import checkpoint, run
from training.trainer import Trainer
from utils.metrics import accuracy, detection_metrics, expected_calibration_error


@pytest.mark.parametrize("protocol", ["heldout", "paper"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_records_what_its_files_say(run_main, tmp_path, loss, protocol):
    status, _out, err = run_main("--loss", loss, "--protocol", protocol, *QUICK)
    assert (status, err) == (0, "")
    folder = tmp_path / "runs" / "digits" / "smallcnn" / loss / "1"
    names = {records.CONFIG, records.EPOCHS, records.METRICS, records.MODEL, records.PREDICTIONS}
    assert {path.name for path in folder.iterdir()} == {*names, lock.LOCK, lock.HOLDER}
    record = record_of(tmp_path, loss)
    split = {"heldout": "validation", "paper": "test"}[protocol]
    assert record["temperature"]["split"] == record["best"]["split"] == split
    assert record["scores_at"] == {"heldout": "calibrated", "paper": "t1"}[protocol]
    assert record["train_images"] == {"heldout": 180, "paper": 721}[protocol]

    # The saved network, loaded as anyone would load it.
    saved = checkpoint.load(folder / records.MODEL)
    model = LOSSES[loss].wrap(build_model("smallcnn", 8, LOSSES[loss].head))
    model.load_state_dict(saved["state_dict"])
    model.eval()

    # Every number again, from the stored predictions alone.
    predictions = np.load(folder / records.PREDICTIONS)
    temperature = record["temperature"]["value"]
    logits, labels = predictions["test/logits"].astype(np.float64), predictions["test/labels"]
    best = record["best"]  # whose accuracy the device counted
    assert best["accuracy"] == record["classification"][best["split"]]["t1"]["accuracy"]
    found = record["classification"]["test"]
    assert found["t1"]["accuracy"] == accuracy(logits, labels)
    assert found["t1"]["ece"] == pytest.approx(
        expected_calibration_error(logits, labels), abs=1e-12
    )
    assert found["calibrated"]["ece"] == pytest.approx(
        expected_calibration_error(logits / temperature, labels), abs=1e-12
    )
    for source, role in (("digits89", "near"), ("photos", "far"), ("noise", "very_far")):
        detection = record["detection"][source]
        assert detection["role"] == role
        for at, t in (("t1", 1.0), ("calibrated", temperature)):
            assert set(detection["scores"][at]) == {
                *losses.scores.SCORES,
                *model.classifier.own_scores,
            }
            for score, function in losses.scores.SCORES.items():
                inside, outside = (
                    function(torch.tensor(predictions[f"{name}/logits"]).double() / t)
                    for name in ("test", source)
                )
                assert detection["scores"][at][score] == detection_metrics(inside, outside)
    history = [json.loads(line) for line in (folder / records.EPOCHS).read_text().splitlines()]
    best = max(history, key=lambda epoch: (epoch[f"{split}_accuracy"], epoch["epoch"]))
    assert record["best"]["epoch"] == best["epoch"]

    # The network gives the same logits divided by its temperature.
    config = RunConfig(data="digits", protocol=protocol, epochs=3, model="smallcnn")
    evaluation = load_data(config).evaluation
    inputs = Normalizer(saved["mean"], saved["std"], torch.device("cpu"))(evaluation["test"].pixels)
    torch.testing.assert_close(
        model(inputs).detach(), torch.tensor(logits / temperature).float(), rtol=1e-4, atol=1e-3
    )
    decided = evaluation[split]
    decided_inputs = Normalizer(saved["mean"], saved["std"], torch.device("cpu"))(decided.pixels)
    scores = model.classifier.scores(
        model.classifier.named_outputs(model.forward_features(decided_inputs))
    )
    assert (scores >= model.classifier.threshold(0.95) - 1e-3).float().mean() >= 0.95


def test_the_same_seed_gives_the_same_record_and_another_does_not(run_main, tmp_path):
    run_main(*QUICK)
    first = without_times(record_of(tmp_path))
    weights = checkpoint.load(tmp_path / "runs/digits/smallcnn/dismax/1/model.pt")["state_dict"]
    (tmp_path / "runs").rename(tmp_path / "earlier")
    torch.manual_seed(99)  # what was drawn before has no part in it
    run_main(*QUICK)
    again = checkpoint.load(tmp_path / "runs/digits/smallcnn/dismax/1/model.pt")["state_dict"]
    assert without_times(record_of(tmp_path)) == first
    assert all(weights[name].equal(again[name]) for name in weights)
    run_main(*QUICK, "--seed", "2")
    assert without_times(record_of(tmp_path, seed=2)) != first


def test_of_equally_good_epochs_the_latest_is_kept_with_its_weights(
    run_main, tmp_path, monkeypatch
):
    run_epoch, after, judged = Trainer.run_epoch, [], iter([0.5, 0.9, 0.9, 0.7])

    def watched(trainer, report):
        summary = run_epoch(trainer, report)
        after.append(
            {name: value.clone() for name, value in trainer.model.body.state_dict().items()}
        )
        return summary

    monkeypatch.setattr(Trainer, "run_epoch", watched)
    monkeypatch.setattr(run.Run, "accuracy", lambda *_: next(judged))
    run_main("--epochs", "4")
    assert record_of(tmp_path)["best"] == {"epoch": 3, "accuracy": 0.9, "split": "validation"}
    saved = checkpoint.load(tmp_path / "runs/digits/smallcnn/dismax/1/model.pt")["state_dict"]
    assert all(saved[f"body.{name}"].equal(value) for name, value in after[2].items())
    assert not saved["body.0.weight"].equal(after[3]["0.weight"])


def test_the_same_data_is_the_same_run_however_its_path_is_written(tmp_path, monkeypatch):
    folder = tmp_path / "sets" / "mine"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    ways = [str(folder), f"{folder}/", ".", "../mine"]
    identities = [main.parse(["--data", way, "--ood", "near=.."]).identity() for way in ways]
    assert all(identity == identities[0] for identity in identities)
    assert identities[0]["ood"] == [f"near={tmp_path}/sets"]


BAD_INPUT = [
    (["--data", "cifar11"], "'cifar11': choose from digits, cifar10"),
    (["--model", "vgg"], "'vgg': choose from densenetbc100"),
    (["--loss", "dis"], "'dis': choose from softmax"),
    (["--ood", "emnist"], "'emnist': choose from digits"),
    (["--data", "cifar10", "--data-dir", "/nowhere"], "bash prepare-cifar.sh cifar10"),
    (["--batch-size", "4"], "batch of 4 is too small for FPR"),
    (["--batch-size", "1"], "--batch-size must be 2 or more, got 1"),
    (["--limit-train", "5"], "batch of 5 is too small for FPR"),
    (["--runs", ""], "--runs has no value"),  # else the current folder's
    (["--model="], "--model has no value"),
    (["--epochs", "0"], "--epochs must be 1 or more, got 0"),
    (["--seed", "-1"], "--seed must be in 0"),
    (
        ["--epochs", "many"],
        "--epochs: no type matching {None}|INT could be instantiated from ['many']. (python "
        "main.py --help",
    ),
    (
        ["--precision", "fp8"],
        "invalid choice 'fp8' for argument '--precision'. Expected one of ('auto', 'fp32', "
        "'bf16', 'fp16').",
    ),
    (["--leraning-rate", "1"], "Unrecognized options: --leraning-rate"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT)
def test_bad_input_says_what_and_writes_nothing(run_main, tmp_path, arguments, message):
    status, out, err = run_main(*arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert main.main(["--runs", str(tmp_path / "file"), "--device", "cpu"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(
        f"error: cannot write to {tmp_path}/file/digits/smallcnn/dismax/1 (Not a directory): "
        "choose another"
    )
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_written_whole_is_not_written(script, run_main, tmp_path):
    # A limit on the size of files stands for a full disk.
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2); import "
        "main; sys.exit(main.main())"
    )
    # As `run_main` has them.
    given = ("--runs", str(tmp_path / "runs"), "--device", "cpu", "--precision", "fp32")
    done = script("-c", limited, *QUICK, *given)
    assert done.returncode == 1
    assert "error: [Errno 27] File too large" in done.stderr
    assert "no checkpoint was written yet" in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name for path in (tmp_path / "runs").rglob("*.*")} == {
        records.CONFIG,
        records.EPOCHS,
        lock.LOCK,
        lock.HOLDER,
    }
    assert run_main(*QUICK)[0] == 0


@pytest.mark.parametrize("name", ["cuda", "meta", "abacus"])
def test_a_device_that_is_not_there_says_so(capsys, tmp_path, name):
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main.main(["--device", name, "--runs", str(tmp_path / "runs")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: --device {name} cannot be used here")
    assert err.count("\n") == 1


def test_images_that_fpr_cannot_mix_are_refused_before_anything_is_written(run_main, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "odd").mkdir(exist_ok=True)
        np.savez(
            tmp_path / "odd" / f"{split}.npz",
            images=np.zeros((40, 7, 7, 3), np.uint8),
            labels=np.arange(40) % 2,
        )
    status, _, err = run_main("--data", str(tmp_path / "odd"), "--model", "smallcnn")
    assert status == 2
    assert "even height and width, got 7×7" in err
    assert not (tmp_path / "runs").exists()


def test_a_users_own_images_run(run_main, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for split in ("train", "test"):
        images = rng.integers(0, 256, (80, 12, 12, 3)).astype(np.uint8)
        labels = np.arange(80) % 2
        images[labels == 1] //= 2
        np.savez(tmp_path / "mine" / f"{split}.npz", images=images, labels=labels)
    np.savez(tmp_path / "out.npz", images=rng.integers(0, 256, (30, 9, 9, 3)).astype(np.uint8))
    mine, out_set = str(tmp_path / "mine"), str(tmp_path / "out.npz")
    status, _, err = run_main(
        "--data", mine, "--model", "smallcnn", "--ood", f"near={out_set}", "noise", *QUICK
    )
    assert (status, err) == (0, "")
    record = records.read_record(
        tmp_path / "runs" / "mine" / "smallcnn" / "dismax" / "1" / records.METRICS
    )
    assert {source: found["role"] for source, found in record["detection"].items()} == {
        out_set: "near",
        "noise": "very_far",
    }
    assert record["titles"]["data"] == "mine"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own setting")
def test_freed_memory_is_kept_for_the_next_tensor(script):
    def page_faults(before):
        code = f"""
import resource, torch
from utils.runtime import keep_freed_memory
{before}
def faults(calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(30)
print(faults(10))
"""
        done = script("-c", code)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert page_faults("keep_freed_memory()") < page_faults("") / 4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precisions_run(run_main, tmp_path, precision):
    status, _, err = run_main("--precision", precision, "--epochs", "10")
    assert (status, err) == (0, "")
    assert record_of(tmp_path)["classification"]["test"]["t1"]["accuracy"] > 0.5


def test_a_network_broken_by_an_epochs_last_step_is_named(run_main, monkeypatch):
    run_epoch = Trainer.run_epoch

    def broken(trainer, report):
        summary = run_epoch(trainer, report)
        with torch.no_grad():
            next(trainer.model.parameters()).fill_(math.nan)
        return summary

    monkeypatch.setattr(Trainer, "run_epoch", broken)
    status, _, err = run_main(*QUICK)
    assert status == 1
    assert "error: the logits became NaN or infinite by the end of epoch 1" in err
    assert err.count("\n") == 1


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "value.json"
    records.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(path, {"a": math.nan})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]
    with open(path) as held:  # who reads while it is replaced reads the old one, whole
        records.write_json(path, {"b": 2})
        assert json.load(held) == {"a": 1}
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"cut\.pt is damaged"):
        checkpoint.load(tmp_path / "cut.pt")


@pytest.mark.parametrize("name", ["privateuseone", "hpu", "xpu", "meta", "cuda:x", ""])
def test_a_device_that_is_not_here_is_named(run_main, name):
    status, _, err = run_main("--device", name)
    assert status == 2
    assert err.startswith(f"error: --device {name} cannot be used here (".replace("  ", " "))
    assert err.count("\n") == 1


def test_runs_among_the_training_images_are_refused(run_main, tmp_path):
    """They would be a class of the next run."""
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
    status, _, err = run_main(
        "--data", str(tmp_path), "--runs", str(tmp_path / "train" / "runs"), *QUICK
    )
    assert (status, err) == (
        2,
        f"error: --runs {tmp_path}/train/runs lies among the images of {tmp_path}/train: name a "
        "folder elsewhere\n",
    )
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"a", "b"}
