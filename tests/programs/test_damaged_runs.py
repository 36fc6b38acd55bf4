"""detect.py and ensemble.py on runs that are damaged, of another version, or changed meanwhile."""

import json
import shutil

import numpy as np
import pytest

import detect
import ensemble
from dismax import archive
from experiment import predictions, records
from tests.common import in_time, special
from tests.finished_runs import CPU, call, contents, edit, read


def cut(path, arrays):
    path.write_bytes(path.read_bytes()[:1000])


def one_array(path, arrays):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def nan(path, arrays):
    arrays["test/logits"][0, 0] = np.nan
    np.savez(path, **arrays)


def one_dimension(path, arrays):
    np.savez(path, **arrays | {"test/logits": arrays["test/logits"][:, 0]})


def no_noise(path, arrays):
    del arrays["noise/logits"]
    np.savez(path, **arrays)


def no_labels(path, arrays):
    del arrays["test/labels"]
    np.savez(path, **arrays)


def fewer_images(path, arrays):
    np.savez(path, **arrays | {"noise/logits": arrays["noise/logits"][:10]})


def fewer_labels(path, arrays):
    np.savez(path, **arrays | {"test/labels": arrays["test/labels"][:10]})


def other_labels(path, arrays):
    np.savez(path, **arrays | {"test/labels": (arrays["test/labels"] + 1) % 10})


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        one_array,
        nan,
        one_dimension,
        no_noise,
        no_labels,
        fewer_images,
        fewer_labels,
        other_labels,
    ],
)
def test_damaged_predictions_are_named_and_stay(runs, capsys, damage):
    folder = runs / "softmax" / "1"
    arrays = {
        f"{name}/{output}": values
        for name, outputs in predictions.read_predictions(folder).items()
        for output, values in outputs.items()
    }
    damage(folder / records.PREDICTIONS, arrays)
    before = contents(runs)
    for program, options in ((detect, ["--scores", "gen"]), (ensemble, [])):
        status, _, err = call(program, capsys, runs / "softmax", *options)
        assert (status, err.count("\n")) == (2, 1)
        assert "softmax/1" in err or "noise" in err
    assert contents(runs) == before


def test_a_record_without_a_later_field_of_the_configuration_is_read(runs, capsys):
    folder = runs / "softmax" / "1"
    edit(folder, lambda record: record["config"].pop("keep_features"))
    assert call(detect, capsys, folder, "--scores", "knn", *CPU)[0] == 0


def test_a_record_with_an_unknown_field_of_the_configuration_is_an_error(runs, capsys):
    folder = runs / "softmax" / "1"
    edit(folder, lambda record: record["config"].update(colour="red"))
    status, _, err = call(detect, capsys, folder, "--scores", "knn")
    assert status == 2
    path = folder / records.METRICS
    assert f"{path}: a configuration of another version: it has colour" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [("precision", "auto"), ("epochs", "3"), ("checkpoint_every", 5), ("data_dir", None)],
)
@pytest.mark.parametrize("program", [detect, ensemble])
def test_an_impossible_value_in_a_records_configuration_is_an_error(
    runs, capsys, program, name, value
):
    folder = runs / "softmax" / "1"
    edit(folder, lambda record: record["config"].update({name: value}))
    before = contents(runs)
    status, _, err = call(program, capsys, folder)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{folder / records.METRICS} is damaged inside (config.{name} must be " in err
    assert contents(runs) == before


@pytest.mark.parametrize("program", [detect, ensemble])
def test_a_record_without_a_temperature_is_an_error(runs, capsys, program):
    folder = runs / "softmax" / "1"
    edit(folder, lambda record: record.pop("temperature"))
    status, _, err = call(program, capsys, folder)
    assert (status, err.count("\n")) == (2, 1)
    assert "damaged inside (it lacks temperature)" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "../../../out"), ("seed", "/tmp/out"), ("loss", "../../out"), ("loss", "softmax/1")],
)
@pytest.mark.parametrize("program", [detect, ensemble])
def test_a_record_does_not_make_a_program_write_elsewhere(
    runs, tmp_path, capsys, program, name, value
):
    path = runs / "softmax" / "1" / records.METRICS
    record = json.loads(path.read_text())
    record["config"][name] = value
    path.write_text(json.dumps(record))
    before = sorted(tmp_path.rglob("*"))
    status, _, err = call(program, capsys, runs / "softmax" / "1")
    assert (status, err.count("\n")) == (2, 1)
    assert f"{path} is damaged inside (config.{name} must be " in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("seed", ["1", "2"])  # the second run saved its features
@pytest.mark.parametrize("option", ["--scores", "--deploy"])
def test_a_network_with_other_weights_is_an_error(runs, capsys, seed, option):
    folder = runs / "softmax" / seed
    with open(folder / records.MODEL, "rb") as file:
        content = archive.load(file)
    weights = content["state_dict"]
    weights["classifier.weight"] = weights["classifier.weight"].roll(1, 0)
    archive.save(folder / records.MODEL, content)
    before = contents(folder)
    status, _, err = call(detect, capsys, folder, option, "knn", *CPU)
    assert status == 2
    assert "are not those that the run saved" in err
    assert contents(folder) == before


def test_a_network_with_fewer_weights_is_an_error(runs, capsys):
    folder = runs / "softmax" / "1"
    with open(folder / records.MODEL, "rb") as file:
        content = archive.load(file)
    del content["state_dict"]["classifier.weight"]
    archive.save(folder / records.MODEL, content)
    status, _, err = call(detect, capsys, folder, "--scores", "knn", *CPU)
    assert status == 2
    assert "is no run's network, or damaged" in err
    assert "detectors" not in read(folder)


@pytest.mark.parametrize("change", ["deleted", "begun again", "made again"])
@pytest.mark.parametrize(
    ("program", "step", "options"),
    [(detect, "score", ["--scores", "energy"]), (ensemble, "average", [])],
)
def test_nothing_is_written_to_a_folder_that_changed_meanwhile(
    runs, capsys, monkeypatch, program, step, options, change
):
    folder, other = runs / "softmax" / "1", runs / "softmax" / "2"
    work = getattr(program, step)

    def work_and_change_the_folder(*arguments):
        results = work(*arguments)
        shutil.rmtree(folder)
        if change == "made again":
            shutil.copytree(other, folder)
        elif change == "begun again":
            folder.mkdir()
            shutil.copy(other / records.CONFIG, folder)
        return results

    monkeypatch.setattr(program, step, work_and_change_the_folder)
    status, out, err = call(program, capsys, folder, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{folder} was deleted or made again meanwhile: nothing is written" in err
    new = {path.name: value for path, value in contents(other).items()}
    expected = {
        "deleted": {},
        "begun again": {records.CONFIG: new[records.CONFIG]},
        "made again": new,
    }
    assert {path.name: value for path, value in contents(folder).items()} == expected[change]
    assert not (runs / "ensemble").exists()


@pytest.mark.parametrize(
    ("program", "options", "name"),
    [
        (detect, ["--scores", "knn"], records.METRICS),
        (detect, ["--scores", "knn"], records.PREDICTIONS),
        (detect, ["--scores", "knn"], records.MODEL),
        (ensemble, [], records.METRICS),
        (ensemble, [], records.PREDICTIONS),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_an_error(runs, capsys, program, options, name):
    folder = runs / "softmax" / "1"
    special(folder / name, "pipe")
    with in_time():
        status, _, err = call(program, capsys, folder, *options)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{folder / name} is" in err


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't allocate memory: you tried to allocate 9 bytes")]
)
@pytest.mark.parametrize("program", [detect, ensemble])
def test_too_little_memory_is_an_error_in_one_line(runs, capsys, monkeypatch, program, error):
    def raise_error(*_):
        raise error

    monkeypatch.setattr(predictions, "read_predictions", raise_error)
    status, _, err = call(program, capsys, runs / "softmax" / "1")
    assert (status, err.count("\n")) == (1, 1)
    assert "out of memory" in err
