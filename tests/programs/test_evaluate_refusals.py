"""evaluate.py: what it refuses, before it has recorded anything."""

import numpy as np
import pytest

import evaluate
from tests.elsewhere import NAMES, outputs, write
from tests.finished_runs import call, contents, read


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
    assert "has other outputs: name another seed with --seeds, or delete it" in err
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
    "a score that is no array": (put("far/score", np.float64(3)), "far/score has no rows"),
    "scores as a column": (put("far/score", np.zeros((20, 1))), "far/score is [N], got [20, 1]"),
    "features as a row": (put("far/features", np.zeros(20)), "far/features is [N, D], got [20]"),
    "other features": (put("test/features", np.zeros((40, 3))), "differ in their width: [2, 3]"),
    "NaN in features": (put("near/features", np.full((20, 2), np.nan)), "features is not finite"),
    "long numbers": (put("near/features", np.zeros((20, 2), np.longdouble)), "holds no numbers"),
    "scores of one set": (put("far/score", np.ones(20)), "lacks test/score: every set needs it"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_evaluated_is_refused_in_one_line(tmp_path, capsys, case):
    change, message = BAD[case]
    good = write(tmp_path / "good.npz", outputs(1))
    arrays = outputs() | {"far/features": np.zeros((20, 2))}
    change(arrays)
    path = write(tmp_path / "x.npz", arrays)
    status, _, err = call(evaluate, capsys, good, path, *NAMES, "--runs", tmp_path / "runs")
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


def test_what_would_mix_up_a_table_is_refused(runs, tmp_path, capsys):
    path = write(tmp_path / "x.npz", outputs())
    where = ("--runs", tmp_path / "runs")
    for options, message in (
        (("--method", "SoftMax", "--data", "d", "--model", "m"), "is a loss of main.py"),
        ((path, *NAMES), "two of the files are equal"),
        (
            ("--method", "Mine", "--like", runs / "softmax" / "1"),
            "images of test, and ",
        ),
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


def test_only_the_chosen_sets_need_a_score(tmp_path, capsys):
    arrays = outputs()
    scores = {
        key.replace("logits", "score"): array.max(1)
        for key, array in arrays.items()
        if "logits" in key and "far" not in key
    }
    path = write(tmp_path / "x.npz", arrays | scores)
    where = ("--runs", tmp_path / "runs")
    assert call(evaluate, capsys, path, *NAMES, "--ood", "near=near", *where)[0] == 0
    assert read(tmp_path / "runs" / "my_data" / "net_1" / "mine" / "1")["score"] == "score"


def test_files_of_one_call_have_one_score(tmp_path, capsys):
    given = outputs(2)
    given |= {key.replace("logits", "score"): x.max(1) for key, x in given.items() if x.ndim == 2}
    files = (write(tmp_path / "1.npz", outputs(1)), write(tmp_path / "2.npz", given))
    status, _, err = call(evaluate, capsys, *files, *NAMES, "--runs", tmp_path / "runs")
    assert (status, err.count("\n")) == (2, 1)
    assert "some files have SET/score and others not" in err
    assert not (tmp_path / "runs").exists()


def test_seeds_and_methods_that_do_not_belong_together_are_refused(tmp_path, capsys):
    where = ("--runs", tmp_path / "runs")
    first = write(tmp_path / "1.npz", outputs(1))
    assert call(evaluate, capsys, first, *NAMES, *where)[0] == 0
    others = outputs(2)
    others["test/labels"] = (others["test/labels"] > 0).astype(int)
    for number, (arrays, options, message) in enumerate(
        (
            (outputs(2), ("--method", "Mine+"), "has 'Mine', not 'Mine+', though their folders"),
            (outputs(2), ("--model", "Net+1"), "has 'Net/1', not 'Net+1', though their folders"),
            (outputs(2, test=39), (), "has 39 images of test, and "),
            (outputs(2, far=19), (), "has 19 images of far, and "),
            (outputs(2, classes=4), (), "has other numbers of classes, or of test images in them"),
            (others, (), "has other numbers of classes, or of test images in them"),
        )
    ):
        path = write(tmp_path / f"other{number}.npz", arrays)
        for seed in ("1", "2"):
            status, _, err = call(evaluate, capsys, path, *NAMES, *options, "--seeds", seed, *where)
            assert (status, err.count("\n")) == (2, 1)
            assert message in err or (not options and seed == "1" and "has other outputs" in err)


def test_files_of_other_images_are_refused_before_the_first_is_recorded(tmp_path, capsys):
    others = outputs(2)
    others["test/labels"] = (others["test/labels"] > 0).astype(int)
    first = write(tmp_path / "1.npz", outputs(1))
    for arrays, what in ((others, "each test class"), (outputs(2, far=19), "far")):
        second = write(tmp_path / "2.npz", arrays)
        status, _, err = call(evaluate, capsys, first, second, *NAMES, "--runs", tmp_path / "runs")
        assert (status, err.count("\n")) == (2, 1)
        assert f"2.npz has other numbers of images of {what} than" in err
    assert not (tmp_path / "runs").exists()
