"""detect.py and ensemble.py on real finished runs of the digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

import analyze
import detect
import ensemble
import main
from detectors import DETECTORS
from dismax import archive
from experiment import predictions, records, search
from losses import LOSSES
from tests.common import QUICK, in_time, special
from training import checkpoint
from utils import program as command_line
from utils import versions

SETS = {"digits89", "photos", "noise"}
CPU = ("--device", "cpu")  # as the runs were made: a GPU rounds otherwise


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of finished runs, to be copied from: SoftMax with two seeds, GODIN, and DisMax; two
    kept their features.
    """
    folder = tmp_path_factory.mktemp("finished")
    common = ["--precision", "fp32", "--runs", str(folder / "runs"), "--device", "cpu", *QUICK]
    second = ["--loss", "softmax", "--seed", "2", "--keep-features"]
    for arguments in (["--loss", "softmax"], second, ["--loss", "godin"], ["--keep-features"]):
        assert main.main([*common, *arguments]) == 0
    return folder / "runs" / "digits" / "smallcnn"


@pytest.fixture
def runs(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "runs" / "digits" / "smallcnn")


def called(program, capsys, *arguments):
    capsys.readouterr()
    status = program.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def record_in(folder):
    return records.read_record(folder / records.METRICS)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*.*")}


def test_every_detector_adds_to_every_runs_record_and_changes_nothing_else(runs, capsys):
    before = {folder: record_in(folder) for folder in search.run_folders([runs])}
    status, out, err = called(detect, capsys, runs, "--device", "cpu")
    assert (status, err) == (0, "")
    for folder, record in before.items():
        after = record_in(folder)
        added = after.pop("detectors")
        assert after == record
        assert set(added) == set(DETECTORS)
        for name, entry in added.items():
            head = LOSSES[record["config"]["loss"]].head(4, 3)
            if reason := DETECTORS[name].refuses(head):
                assert entry == {
                    "title": DETECTORS[name].title,
                    "version": versions.of(name),
                    "not_applicable": reason,
                }
                assert f"{DETECTORS[name].title}: n/a, {reason}" in out
            else:
                assert set(entry["sets"]) == SETS
                assert all(
                    0 <= value <= 1
                    for metrics in entry["sets"].values()
                    for value in metrics.values()
                )


def test_what_is_recorded_is_the_scores_of_what_the_run_kept(runs, capsys):
    assert called(detect, capsys, runs / "softmax" / "1", "--scores", "energy", "maxlogit")[0] == 0
    record, kept = (
        record_in(runs / "softmax" / "1"),
        predictions.read_predictions(runs / "softmax" / "1"),
    )
    for source in SETS:
        inside, outside = (
            np.log(np.exp(kept[name]["logits"].astype(float)).sum(1)) for name in ("test", source)
        )
        is_in = np.repeat([1, 0], [len(inside), len(outside)])
        expected = roc_auc_score(is_in, np.concatenate([inside, outside]))
        assert record["detectors"]["energy"]["sets"][source]["auroc"] == pytest.approx(
            expected, abs=1e-9
        )
        # At T = 1 this one is the head's MDS by another name.
        assert (
            record["detectors"]["maxlogit"]["sets"][source]
            == record["detection"][source]["scores"]["t1"]["MDS"]
        )


def test_odin_without_perturbation_at_temperature_1_is_mps(runs, capsys):
    assert (
        called(
            detect,
            capsys,
            runs / "softmax" / "1",
            "--scores",
            "odin",
            "--epsilon",
            0,
            "--temperature",
            1,
            *CPU,
        )[0]
        == 0
    )
    record = record_in(runs / "softmax" / "1")
    for source in SETS:
        recorded = record["detection"][source]["scores"]["t1"]["MPS"]
        assert record["detectors"]["odin"]["sets"][source]["auroc"] == pytest.approx(
            recorded["auroc"], abs=1e-4
        )
    assert record["detectors"]["odin"]["parameters"] == {"epsilon": 0.0, "temperature": 1.0}
    assert record["detectors"]["odin"]["constants"] == {"epsilon": 0.0, "temperature": 1.0}


@pytest.mark.parametrize(
    ("given", "odin", "own"),
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
def test_a_title_names_the_constants_that_are_not_the_defaults(given, odin, own):
    options = command_line.read(detect.Options, "detect.py", ["runs", *given])
    options.check()
    assert [row.title for row in options.detectors().values()][-2:] == [odin, own]


def test_runs_scored_with_other_constants_have_rows_of_their_own(runs, capsys):
    """ODIN's and GODIN's rows are not averaged over constants."""
    shutil.copytree(runs / "godin" / "1", runs / "godin" / "2")
    rewritten = record_in(runs / "godin" / "2")
    rewritten["config"]["seed"] = 2
    records.write_json(runs / "godin" / "2" / records.METRICS, rewritten)
    for seed, epsilon in ((1, "chosen"), (2, "0.01")):
        given = ("--scores", "odin", "preprocessing", "--epsilon", epsilon, *CPU)
        assert called(detect, capsys, runs / "godin" / str(seed), *given)[0] == 0
    status, out, _ = called(analyze, capsys, "--runs", runs / "godin", "--format", "markdown")
    assert status == 0
    cells = [cell.strip() for line in out.splitlines() for cell in line.split("|")]
    titles = ("ODIN, ε chosen", "ODIN, ε 0.01", "own, perturbed", "own, perturbed, ε 0.01")
    assert {f"{title} (at T = 1)" for title in titles} <= {*cells}
    assert {"GODIN, preprocessing (n=1)", "GODIN, preprocessing, ε 0.01 (n=1)"} <= {*cells}


def test_godins_preprocessing_without_perturbation_is_its_own_score(runs, capsys):
    assert (
        called(
            detect, capsys, runs / "godin" / "1", "--scores", "preprocessing", "--epsilon", 0, *CPU
        )[0]
        == 0
    )
    record = record_in(runs / "godin" / "1")
    for source in SETS:
        recorded = record["detection"][source]["scores"]["t1"]["max h"]
        assert record["detectors"]["preprocessing"]["sets"][source]["auroc"] == pytest.approx(
            recorded["auroc"], abs=1e-4
        )


def test_detectors_can_turn_inputs_back_into_pixels(runs):
    run = detect.Finished(runs / "softmax" / "1", torch.device("cpu"), Path("data/downloads"))
    known, _ = run.known({"odin": DETECTORS["odin"]})
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (known.mean, known.std))
    pixels = torch.cat(list(known.deciding.batches())) * std + mean
    assert (pixels.min().item(), pixels.max().item()) == pytest.approx((0, 1), abs=1e-6)


def test_kept_features_need_no_images_and_give_what_the_network_gives(runs, capsys, monkeypatch):
    folder = runs / "dismax" / "1"
    kept = predictions.read_predictions(folder)
    assert kept["train"]["features"].shape == (180, 64)
    assert "features" not in predictions.read_predictions(runs / "softmax" / "1")["test"]
    names = ("knn", "mahalanobis", "react")
    with monkeypatch.context() as without_images:
        without_images.setattr(detect, "load_data", None)
        assert called(detect, capsys, folder, "--scores", *names)[0] == 0
    from_kept = record_in(folder)["detectors"]
    del kept["train"]
    short = {
        name: {key: value for key, value in part.items() if key != "features"}
        for name, part in kept.items()
    }
    predictions.write_predictions(folder, short, {}, with_features=False)
    assert called(detect, capsys, folder, "--scores", *names)[0] == 0
    for name in names:
        for source, metrics in record_in(folder)["detectors"][name]["sets"].items():
            assert metrics == pytest.approx(from_kept[name]["sets"][source], abs=2e-3)


def test_detectors_of_two_calls_add_up(runs, capsys):
    folder = runs / "softmax" / "1"
    called(detect, capsys, folder, "--scores", "energy")
    first = record_in(folder)["detectors"]["energy"]
    called(detect, capsys, folder, "--scores", "gen")
    assert record_in(folder)["detectors"]["energy"] == first
    assert set(record_in(folder)["detectors"]) == {"energy", "gen"}


def test_bad_calls_of_detect_say_what_and_change_nothing(runs, capsys):
    softmax_run = runs / "softmax" / "1"
    (runs / "godin" / "1" / records.MODEL).unlink()
    before = contents(runs)
    for arguments, message in (
        ([], "no runs given"),
        ([runs / "nothing"], "no finished run in or below"),
        (
            [softmax_run, "--scores", "enerji"],
            "unknown detector 'enerji': choose from maxlogit, energy",
        ),
        (
            [softmax_run, "--epsilon", "1"],
            "--epsilon is in pixels, 0 or more and less than 1, got 1.0",
        ),
        ([softmax_run, "--epsilon", "nan"], "got nan"),
        (
            [softmax_run, "--scores", "energy", "knn", "--epsilon", "0.01"],
            "--epsilon is no constant of energy, knn: leave it out",
        ),
        (
            [softmax_run, "--scores", "preprocessing", "--temperature", "5"],
            "--temperature is no constant of preprocessing",
        ),
        (
            [softmax_run, "--epsilon", "choose"],
            "Error parsing --epsilon: no type matching {None}|FLOAT|{chosen}",
        ),
        ([softmax_run, "--scores", "ash"], "unknown detector 'ash': choose from maxlogit, energy"),
        (
            [softmax_run, "--temperature", "0"],
            "--temperature is a number in 0.001 to 1,000,000, got 0.0",
        ),
        (
            [softmax_run, runs / "godin" / "1", "--scores", "knn"],
            "keeps neither features nor a network, which knn need: take",
        ),
        ([softmax_run, "--device", "abacus"], "--device abacus cannot be used here"),
    ):
        status, out, err = called(detect, capsys, *arguments)
        assert (status, out) == (2, ""), arguments
        assert message in err
        assert err.count("\n") == 1
    assert contents(runs) == before


def test_features_without_a_meaning_for_a_detector_are_not_applicable_and_bad_ones_an_error(
    runs, capsys
):
    folder = runs / "softmax" / "2"
    kept = predictions.read_predictions(folder)

    def scored_with(name, features):
        changed = {key: dict(part) for key, part in kept.items()}
        changed[name]["features"] = features
        predictions.write_predictions(folder, changed, {}, with_features=True)
        return called(detect, capsys, folder, "--scores", "vim")

    bad = kept["noise"]["features"].copy()
    bad[3, 2] = np.nan
    status, _, err = scored_with("noise", bad)
    assert status == 2
    assert f"{folder}: ViM has no finite score for 1 of {len(bad)} images of noise" in err
    assert "detectors" not in record_in(folder)
    # Nothing outside their subspace.
    status, out, _ = scored_with("train", np.ones_like(kept["train"]["features"]))
    assert status == 0
    assert "ViM: n/a, ViM needs training features of more than" in out
    assert set(record_in(folder)["detectors"]["vim"]) == {"title", "version", "not_applicable"}


@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        "array",
        "nan",
        "one dimension",
        "no noise",
        "no labels",
        "fewer",
        "other labels",
        "fewer labels",
    ],
)
def test_damaged_predictions_are_named(runs, capsys, damage):
    folder = runs / "softmax" / "1"
    path = folder / records.PREDICTIONS
    arrays = {
        f"{name}/{key}": value
        for name, part in predictions.read_predictions(folder).items()
        for key, value in part.items()
    }
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        if damage == "nan":
            arrays["test/logits"][0, 0] = np.nan
        elif damage == "one dimension":
            arrays["test/logits"] = arrays["test/logits"][:, 0]
        elif damage == "no noise":
            del arrays["noise/logits"]
        elif damage == "no labels":
            del arrays["test/labels"]
        elif damage == "fewer":
            arrays["noise/logits"] = arrays["noise/logits"][:10]
        elif damage == "fewer labels":
            arrays["test/labels"] = arrays["test/labels"][:10]
        else:
            arrays["test/labels"] = (arrays["test/labels"] + 1) % 10
        np.savez(path, **arrays)
    before = contents(runs)
    for program, given in ((detect, ["--scores", "gen"]), (ensemble, [])):
        status, _, err = called(program, capsys, runs / "softmax", *given)
        assert (status, err.count("\n")) == (2, 1)
        assert "softmax/1" in err or "noise" in err
    assert contents(runs) == before


def test_runs_of_before_a_field_of_the_configuration_are_read(runs, capsys):
    folder = runs / "softmax" / "1"
    record = record_in(folder)
    del record["config"]["keep_features"]
    (folder / records.METRICS).write_text(json.dumps(record))
    assert called(detect, capsys, folder, "--scores", "knn")[0] == 0
    record["config"]["colour"] = "red"
    (folder / records.METRICS).write_text(json.dumps(record))
    status, _, err = called(detect, capsys, folder, "--scores", "knn")
    assert (status, "of another version: it has colour" in err) == (2, True)
    del record["config"], record["temperature"]
    record["config"] = record_in(runs / "softmax" / "2")["config"]
    (folder / records.METRICS).write_text(json.dumps(record))
    for program in (detect, ensemble):
        status, _, err = called(program, capsys, folder)
        assert (status, "damaged inside (it lacks temperature)" in err, err.count("\n")) == (
            2,
            True,
            1,
        )


def test_another_network_or_other_images_than_the_runs_are_noticed(runs, capsys):
    folder = runs / "softmax" / "1"
    saved = checkpoint.load(folder / records.MODEL)
    saved["state_dict"]["classifier.weight"] = saved["state_dict"]["classifier.weight"].roll(1, 0)
    archive.save(folder / records.MODEL, saved)
    status, _, err = called(detect, capsys, folder, "--scores", "knn")
    assert status == 2
    assert "are not those that the run kept" in err
    del saved["state_dict"]["classifier.weight"]
    archive.save(folder / records.MODEL, saved)
    status, _, err = called(detect, capsys, folder, "--scores", "knn")
    assert status == 2
    assert "is no run's network, or damaged" in err
    assert "detectors" not in record_in(folder)


def test_an_ensemble_is_the_mean_of_its_members_probabilities(runs, capsys):
    status, out, _ = called(ensemble, capsys, runs / "softmax")
    assert status == 0
    assert "Deep Ensemble of 2 (seeds 1, 2)" in out
    folder = runs / "ensemble" / "1+2"
    record, kept = record_in(folder), predictions.read_predictions(folder)
    members = [predictions.read_predictions(runs / "softmax" / seed) for seed in ("1", "2")]
    for name in ("test", "validation", *SETS):
        np.testing.assert_allclose(
            np.exp(kept[name]["logits"].astype(float)), p_of(members, name), rtol=1e-5
        )
    accuracy = (p_of(members, "test").argmax(1) == members[0]["test"]["labels"]).mean()
    assert record["classification"]["test"]["t1"]["accuracy"] == pytest.approx(accuracy)
    assert set(record["detection"]["noise"]["scores"]["t1"]) == {"MPS", "ES"}
    assert record["members"] == [1, 2]
    assert record["parameters"] == 2 * record_in(runs / "softmax" / "1")["parameters"]
    assert "finished: skipped" in called(ensemble, capsys, runs / "softmax")[1]


def p_of(members, name):
    return np.mean(
        [softmax(member[name]["logits"].astype(float), axis=1) for member in members], axis=0
    )


def test_an_ensemble_of_one_is_its_member(runs, capsys):
    assert called(ensemble, capsys, runs / "softmax", "--members", 2)[0] == 0
    ours, member = record_in(runs / "ensemble" / "2"), record_in(runs / "softmax" / "2")
    assert ours["temperature"]["value"] == pytest.approx(member["temperature"]["value"], rel=1e-3)
    for at in ("t1", "calibrated"):
        assert ours["classification"]["test"][at] == pytest.approx(
            member["classification"]["test"][at], abs=1e-3
        )
        for source in SETS:
            ours_of_it, members_own = (
                record["detection"][source]["scores"][at]["MPS"] for record in (ours, member)
            )
            assert ours_of_it == pytest.approx(members_own, abs=1e-3)


def test_logits_only_detectors_score_an_ensemble(runs, capsys):
    called(ensemble, capsys, runs / "softmax")
    status, _, err = called(detect, capsys, runs / "ensemble")
    assert (status, err) == (0, "")
    added = record_in(runs / "ensemble" / "1+2")["detectors"]
    assert set(added) == {name for name, row in DETECTORS.items() if row.needs == "logits"}
    assert set(added["gen"]["sets"]) == SETS
    status, _, err = called(detect, capsys, runs / "ensemble", "--scores", "vim", "gen")
    assert status == 2
    assert "keeps neither features nor a network, which vim need: take maxlogit, energy, gen" in err


def test_an_ensemble_of_what_does_not_belong_together_is_refused(runs, capsys):
    def change(folder, name, value):
        record = record_in(folder)
        record["config"][name] = value
        (folder / records.METRICS).write_text(json.dumps(record))

    cases = [
        (
            [runs / "softmax", runs / "godin"],
            "members differ in nothing but the seed",
            "loss 'softmax' and 'godin'",
        ),
        ([runs / "softmax", "--members", 1, 7], "no finished run with seed 7", "softmax"),
        ([runs / "nothing"], "no finished run in or below", "nothing"),
    ]
    other = shutil.copytree(runs / "softmax" / "1", runs.parent / "other" / "3")
    change(other, "model", "resnet10")
    cases.append(
        (
            [runs / "softmax", runs.parent / "other"],
            "members differ",
            "model 'smallcnn' and 'resnet10'",
        )
    )
    copied = shutil.copytree(runs / "softmax" / "1", runs.parent / "copied" / "1")
    cases.append(([runs / "softmax", copied], "seeds are given twice", "1, 2, 1"))
    fewer = shutil.copytree(runs / "softmax" / "1", runs.parent / "fewer" / "4")
    change(fewer, "seed", 4)
    kept = predictions.read_predictions(fewer)
    kept["noise"]["logits"] = kept["noise"]["logits"][:10]
    labels = {name: part["labels"] for name, part in kept.items() if "labels" in part}
    predictions.write_predictions(
        fewer, {n: {"logits": p["logits"]} for n, p in kept.items()}, labels, with_features=False
    )
    record = record_in(fewer)
    record["detection"]["noise"]["n"] = 10
    (fewer / records.METRICS).write_text(json.dumps(record))
    cases.append(([runs / "softmax", fewer], "was judged by other images of", "make it again"))
    before = contents(runs)
    for arguments, *messages in cases:
        status, out, err = called(ensemble, capsys, *arguments)
        assert (status, out) == (2, ""), arguments
        assert all(message in err for message in messages), err
        assert err.count("\n") == 1
    assert contents(runs) == before


@pytest.mark.parametrize("what", ["deleted", "begun again", "made again"])
@pytest.mark.parametrize(("program", "step"), [(detect, "scored"), (ensemble, "average")])
def test_a_folder_that_is_made_again_meanwhile_gets_nothing_of_the_run_before(
    runs, capsys, monkeypatch, program, step, what
):
    folder, other = runs / "softmax" / "1", runs / "softmax" / "2"
    work = getattr(program, step)

    def then_made_again(*arguments):
        done = work(*arguments)
        shutil.rmtree(folder)
        if what == "made again":
            shutil.copytree(other, folder)
        elif what == "begun again":
            folder.mkdir()
            shutil.copy(other / records.CONFIG, folder)
        return done

    monkeypatch.setattr(program, step, then_made_again)
    status, out, err = called(
        program, capsys, folder, *(["--scores", "energy"] if program is detect else [])
    )
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{folder} was deleted or made again meanwhile: nothing is written" in err
    left = {path.name: value for path, value in contents(folder).items()}
    new = {path.name: value for path, value in contents(other).items()}
    assert (
        left
        == {"deleted": {}, "begun again": {records.CONFIG: new[records.CONFIG]}, "made again": new}[
            what
        ]
    )
    assert not (runs / "ensemble").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "../../../out"), ("seed", "/tmp/out"), ("loss", "../../out"), ("loss", "softmax/1")],
)
def test_no_record_leads_an_ensemble_out_of_the_runs_folder(runs, tmp_path, capsys, name, value):
    path = runs / "softmax" / "1" / records.METRICS
    record = json.loads(path.read_text())
    record["config"][name] = value
    path.write_text(json.dumps(record))
    before = sorted(tmp_path.rglob("*"))
    for program in (ensemble, detect):
        status, _, err = called(program, capsys, runs / "softmax" / "1")
        assert (status, err.count("\n")) == (2, 1)
        assert f"{path} is damaged inside (config.{name} must be " in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", [records.METRICS, records.PREDICTIONS, records.MODEL])
def test_a_pipe_in_the_place_of_a_runs_file_is_an_error(runs, capsys, name):
    folder = runs / "softmax" / "1"
    special(folder / name, "pipe")
    for program, given in ((detect, ["--scores", "knn"]), (ensemble, [])):
        if program is detect or name != records.MODEL:
            with in_time():
                status, _, err = called(program, capsys, folder, *given)
            assert (status, err.count("\n")) == (2, 1)
            assert f"{folder / name} is" in err


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
def test_a_device_that_is_not_there_is_an_error_in_one_line(runs, capsys, device):
    status, out, err = called(
        detect, capsys, runs / "softmax" / "1", "--scores", "energy", "--device", device
    )
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert " ".join(f"--device {device} cannot be used here".split()) in err


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't allocate memory: you tried to allocate 9 bytes")]
)
def test_too_little_memory_is_said_in_one_line(runs, capsys, monkeypatch, error):
    def without_memory(*_):
        raise error

    monkeypatch.setattr(records, "read_predictions", without_memory)
    for program in (detect, ensemble):
        status, _, err = called(program, capsys, runs / "softmax" / "1")
        assert (status, err.count("\n"), "memory" in err) == (2, 1, True)


def test_compiling_with_a_gradient_penalty_is_refused(run_main, tmp_path):
    status, _, err = run_main("--loss", "duq", "--compile")
    assert status == 2
    assert "--compile cannot go with --loss duq" in err
    assert not (tmp_path / "runs").exists()


def test_mean_log_probabilities_do_not_underflow():
    logits = [torch.tensor([[0.0, -2000.0]]), torch.tensor([[0.0, -1000.0]])]
    mean = ensemble.mean_log_probabilities(logits)
    assert mean.isfinite().all()
    assert mean[0, 1].item() == pytest.approx(-1000 - np.log(2))
