"""detect.py --deploy: what it writes, and what it refuses."""

import pytest
import torch

import detect
from dismax.detector import Detector
from experiment import lock, records
from experiment.config import RunConfig
from experiment.data import load_data
from tests.finished_runs import CPU, call, contents, read


@pytest.fixture
def softmax_run(runs):
    return runs / "softmax" / "1"


def test_deploying_changes_nothing_but_the_network_file(softmax_run, capsys):
    before = contents(softmax_run)
    status, out, err = call(detect, capsys, softmax_run, "--deploy", "knn", "energy", *CPU)
    assert (status, err) == (0, "")
    after = contents(softmax_run)
    changed = {path.name for path in after if before[path] != after[path]}
    assert changed == {records.MODEL, lock.HOLDER}
    table = {line.split()[0]: line.split() for line in out.splitlines() if "%" in line}
    pixels = load_data(RunConfig.from_json(read(softmax_run)["config"])).evaluation["test"].pixels
    for name in ("knn", "energy"):
        detector = Detector.load(softmax_run / records.MODEL, score=name)
        assert table[name][1] == f"{detector.threshold(0.95):.4g}"
        assert table[name][2] == f"{detector(pixels).accepted.double().mean():.1%}"
    # A run is finished with the default score.
    assert Detector.load(softmax_run / records.MODEL).score.name == "combined"


def test_a_score_of_an_earlier_version_is_refused_until_it_is_deployed_again(softmax_run, capsys):
    path = softmax_run / records.MODEL
    content = torch.load(path, weights_only=True)
    content["scores"]["combined"]["version"] = 1
    torch.save(content, path)
    with pytest.raises(ValueError, match="combined is computed in another way now") as caught:
        Detector.load(path)
    assert "detect.py RUN --deploy combined" in str(caught.value)
    assert "make the run again" not in str(caught.value)
    status, _, err = call(detect, capsys, softmax_run, "--deploy", "combined", *CPU)
    assert (status, err) == (0, "")
    assert Detector.load(path).score.name == "combined"


def test_thresholds_are_not_set_for_a_network_with_another_body(runs, capsys, monkeypatch):
    """The features that a run keeps are those of the body that it trained."""
    folder = runs / "dismax" / "1"
    content = torch.load(folder / records.MODEL, weights_only=True)
    body = [name for name in content["state_dict"] if name.startswith("body.")]
    weight = content["state_dict"][body[0]]
    content["state_dict"][body[0]] = weight * 1.001  # almost all predictions stay the same
    torch.save(content, folder / records.MODEL)
    before = contents(folder)
    status, _, err = call(detect, capsys, folder, "--deploy", "knn", *CPU)
    assert status == 2
    assert "has other weights than the run's record says" in err
    assert contents(folder) == before


def test_a_folder_may_be_called_as_a_detector_is(runs, tmp_path, monkeypatch, capsys):
    (tmp_path / "energy").mkdir()
    monkeypatch.chdir(tmp_path)
    given = (runs / "dismax" / "1", "--scores", "energy", "--device", "cpu")
    assert call(detect, capsys, *given)[0] == 0


def test_what_cannot_be_deployed_is_said_before_anything_is_scored(runs, capsys):
    before = contents(runs)
    status, _, err = call(detect, capsys, runs, "--deploy")
    assert status == 2
    assert "--deploy has no value" in err
    for option in ("--deploy", "--scores"):
        status, _, err = call(detect, capsys, option, "energy", runs)
        assert status == 2
        assert f"{runs} is a folder" in err
        assert "write the folders before" in err
    for name, message in (("odin", "needs the network's gradients or layers"), ("x", "unknown")):
        status, _, err = call(detect, capsys, runs, "--deploy", "energy", name)
        assert status == 2
        assert message in err
    status, _, err = call(detect, capsys, runs / "dismax" / "1", "--deploy", "energy", "vim")
    assert status == 2
    assert "vim needs a linear head" in err
    (runs / "softmax" / "1" / records.MODEL).unlink()
    del before[runs / "softmax" / "1" / records.MODEL]
    status, _, err = call(detect, capsys, runs / "softmax" / "1", "--deploy", "energy")
    assert status == 2
    assert "has no network, so nothing can be deployed there" in err
    assert contents(runs) == before
