"""detect.py with detectors of pytorch-ood."""

from importlib.metadata import version

import pytest

import analyze
import detect
from tests.finished_runs import CPU, SETS, call, contents, read


def test_an_entry_names_the_package_and_analyze_prints_it(runs, capsys):
    folder = runs / "softmax" / "2"
    names = [f"pytorch_ood:{name}" for name in ("EnergyBased", "RMD", "OpenMax", "NACUE", "MCM")]
    assert call(detect, capsys, folder, "--scores", "energy", *names, *CPU)[0] == 0
    entries = read(folder)["detectors"]
    assert set(entries) == {"energy", *names}
    package = f"pytorch-ood {version('pytorch-ood')}"
    for name in names:
        short = name.partition(":")[2]
        assert entries[name]["title"] == f"{short} ({package})"
        if short == "MCM":
            assert "text_embeddings" in entries[name]["not_applicable"]
            continue
        assert entries[name]["parameters"]["package"] == package
        assert set(entries[name]["sets"]) == SETS
    # The same scores with the same sign.
    for source in SETS:
        ours, theirs = (entries[name]["sets"][source]["auroc"] for name in ("energy", names[0]))
        assert ours == pytest.approx(theirs, abs=1e-6)
    status, out, _ = call(analyze, capsys, runs, "--detail", "--format", "markdown")
    assert status == 0
    assert f"RMD ({package})" in out


def test_a_run_without_network_gets_what_its_outputs_are_enough_for(runs, capsys):
    folder = runs / "softmax" / "2"  # it kept its features
    (folder / "model.pt").unlink()
    names = ("Entropy", "KLMatching", "TemperatureScaling", "RMD", "GMM", "ReAct")
    options = ("--scores", *(f"pytorch_ood:{name}" for name in names))
    assert call(detect, capsys, folder, *options, *CPU)[0] == 0
    entries = read(folder)["detectors"]
    reason = entries.pop("pytorch_ood:ReAct")["not_applicable"]
    assert reason == "this detector needs the head"
    assert all(set(entry["sets"]) == SETS for entry in entries.values())
    status, _, err = call(detect, capsys, folder, "--scores", "pytorch_ood:ODIN", *CPU)
    assert status == 2
    assert "keeps no network, which is needed for pytorch_ood:ODIN" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scores", "pytorch_ood:knn"], "unknown detector 'pytorch_ood:knn': pytorch-ood"),
        (["--deploy", "pytorch_ood:KNN"], "pytorch_ood:KNN is another package's, so it cannot be"),
        (["--scores", "pytorch_ood:ODIN", "--epsilon", "0.1"], "is no constant of pytorch_ood:O"),
    ],
)
def test_bad_input_is_an_error_in_one_line_and_changes_nothing(runs, capsys, arguments, message):
    before = contents(runs)
    status, out, err = call(detect, capsys, runs / "softmax" / "2", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert contents(runs) == before
