"""Options that users know from other programs: each leads somewhere, in one line."""

import importlib
import os
import re
from contextlib import redirect_stdout

import pytest

import dismax
import main
from dismax import __main__ as module
from experiment.parsing import parse
from tests.common import ROOT
from tests.finished_runs import call

PROGRAMS = ["main", "analyze", "detect", "ensemble", "evaluate", "predict"]
ANSWERS = [
    ("main", ["--dataset", "cifar10"], "--dataset, cifar10: perhaps you meant --data ("),
    ("main", ["--dataset=cifar10"], "--dataset=cifar10: perhaps you meant --data ("),
    ("main", ["--batch", "3"], "perhaps you meant --batch-size or --sync-batchnorm ("),
    ("main", ["--dataset", "x", "--epoch=3"], "perhaps you meant --data or --epochs ("),
    ("detect", ["runs", "--score", "energy"], "perhaps you meant --scores ("),
    ("main", ["--resume"], "an interrupted run continues by itself: give the same command"),
    ("main", ["--resume=last.pt"], "an interrupted run continues by itself"),
    ("main", ["--gpus", "2"], "torchrun --nproc-per-node=N main.py"),
    ("predict", ["cifar10", "a.png", "--gpu", "0"], "no option --gpu: --device cuda:N chooses"),
    ("main", ["--pretrained"], "--weights pretrained starts with the weights of timm or"),
    ("main", ["--imglist", "a.txt"], "--ood takes image lists (.txt), and --data a folder with"),
]


@pytest.mark.parametrize(("name", "arguments", "answer"), ANSWERS)
def test_a_habit_is_answered_in_one_line(capsys, name, arguments, answer):
    status, out, err = call(importlib.import_module(name), capsys, *arguments)
    assert status == 2
    assert answer in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("analyze", ["--gpus", "2"]),  # it uses no GPU
        ("predict", ["cifar10", "--resume"]),
        ("main", ["words"]),
        ("main", ["--lr", "fast"]),  # tyro's message has the option's help
    ],
)
def test_an_option_without_an_answer_is_named(capsys, name, arguments):
    status, _, err = call(importlib.import_module(name), capsys, *arguments)
    assert status == 2
    assert "perhaps" not in err
    assert arguments[-1] in err
    assert f"(python {name}.py --help lists the options)" in err


def test_the_answers_name_options_that_there_are():
    config = parse(["--lr", "0.2", "--weights", "pretrained", "--model", "timm/resnet18"])
    assert (config.learning_rate, config.weights) == (0.2, "pretrained")
    torchrun = (ROOT / "docs" / "several-gpus.md").read_text()
    assert "torchrun --nproc-per-node=" in torchrun


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_has_a_version(capsys, name):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(name).main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"dismax {dismax.__version__}\n"


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_a_program_that_needs_arguments_prints_its_help_without_them(capsys, name):
    status, out, err = call(importlib.import_module(name), capsys)
    assert status == 2
    assert out.startswith(f"usage: {name}.py")
    assert "--score" in out
    assert err == f"error: {name}.py needs arguments: its help is above\n"


def test_help_names_the_short_form_of_an_option(capsys):
    with pytest.raises(SystemExit):
        main.main(["--help"])
    assert "--lr" in capsys.readouterr().out


def test_the_package_tells_what_it_can_do(capsys):
    module.main([])
    out = capsys.readouterr().out
    assert out.startswith(f"dismax {dismax.__version__}: ")
    assert "python main.py --help" in out
    assert [name for name in dismax.__all__ if f"dismax.{name}(" in out] == dismax.__all__
    assert all(getattr(dismax, name) is not None for name in dir(dismax))
    module.main(["--version"])
    assert capsys.readouterr().out == f"dismax {dismax.__version__}\n"


def test_an_error_has_no_colour_codes_and_no_frame_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    main_end, side = os.openpty()
    try:
        with os.fdopen(side, "w", encoding="utf-8") as terminal, redirect_stdout(terminal):
            assert main.main(["--dataset", "cifar10"]) == 2
    finally:
        os.close(main_end)
    assert capsys.readouterr().err == (
        "error: Unrecognized options: --dataset, cifar10: perhaps you meant --data (python main.py "
        "--help lists the options)\n"
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_help_has_no_empty_defaults(name, capsys):
    program = importlib.import_module(name)
    for _ in range(2):  # the second call must not differ
        with pytest.raises(SystemExit):
            program.main(["--help"])
        out = capsys.readouterr().out
        assert not re.search(r"\(default: (None|False)?\)|\{None\}", " ".join(out.split()))
    if name in ("detect", "evaluate", "ensemble"):
        assert "(required)" in out.split("options ─")[0]
    if name == "detect":
        assert "{chosen}" in out
