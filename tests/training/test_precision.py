"""--precision auto times the run's own training steps, and leaves nothing behind."""

import math
import os
import subprocess
import sys

import pytest
import torch

from tests.common import QUICK, ROOT, record_of, without_times
from tests.stepping import trainer_of
from training import precision
from utils.distributed import ALONE, World


@pytest.fixture
def may_gain(monkeypatch):
    """A CPU that has bf16 instructions, as far as the program can tell."""
    monkeypatch.setattr(precision, "_may_be_faster", lambda device: True)


@pytest.mark.parametrize(
    ("loss", "faster", "other"),
    [
        ("dismax", "bf16", "fp32"),
        ("dismax", "fp32", "bf16"),
        ("godin_dropout", "fp32", "bf16"),
        ("sngp", "fp32", "bf16"),
    ],
)
def test_auto_takes_the_faster_precision_and_its_trial_changes_nothing(
    run_main, tmp_path, monkeypatch, may_gain, loss, faster, other
):
    seconds = precision._epoch_seconds
    monkeypatch.setattr(
        precision,
        "_epoch_seconds",
        lambda training, name, world: seconds(training, name, world) + 9 * (name == other),
    )
    given = ("--loss", loss, "--epochs", "1", "--limit-train", "72")
    assert run_main("--precision", "auto", *given)[0] == 0
    record = record_of(tmp_path, loss)
    assert record["config"]["precision"] == faster
    (tmp_path / "runs").rename(tmp_path / "earlier")
    assert run_main("--precision", faster, *given)[0] == 0
    assert without_times(record) == without_times(record_of(tmp_path, loss))


def test_a_begun_run_keeps_its_precision(run_main, monkeypatch, may_gain):
    given = ("--precision", "auto", *QUICK)
    monkeypatch.setattr(
        precision, "_epoch_seconds", lambda make, name, world: {"fp32": 2, "bf16": 1}[name]
    )
    assert run_main(*given)[0] == 0
    monkeypatch.setattr(
        precision, "_epoch_seconds", lambda make, name, world: {"fp32": 1, "bf16": 2}[name]
    )
    status, out, _ = run_main(*given)
    assert status == 0
    assert "finished" in out
    assert run_main("--precision", "fp32", *QUICK)[0] == 2


def test_of_two_that_begin_at_once_and_choose_differently_one_gives_way(
    run_main, tmp_path, monkeypatch, may_gain
):
    given, others = (
        ("--loss", "softmax", "--epochs", "1", "--limit-train", "50", "--limit-eval", "20"),
        [],
    )

    def seconds(training, name, world):
        if not others:  # the other process is done with its own trial
            others.append(run_main("--precision", "fp32", *given)[0])
        return {"fp32": 2, "bf16": 1}[name]

    monkeypatch.setattr(precision, "_epoch_seconds", seconds)
    status, _, error = run_main("--precision", "auto", *given)
    assert (others, status) == ([0], 3)
    assert "in fp32: run the same command again" in error
    assert record_of(tmp_path, "softmax")["config"]["precision"] == "fp32"
    status, out, _ = run_main("--precision", "auto", *given)
    assert status == 0
    assert "finished" in out


@pytest.mark.parametrize("size", ["2", "5"])
def test_a_run_that_cannot_be_is_refused_by_its_own_number_of_images(run_main, may_gain, size):
    named = run_main("--precision", "fp32", "--batch-size", size)
    assert named[0] == 2
    assert run_main("--precision", "auto", "--batch-size", size) == named


@pytest.mark.parametrize(
    ("single", "half", "chosen"),
    [
        (1.0, 0.5, "bf16"),
        (1.0, 0.95, "fp32"),
        (1.0, 2.0, "fp32"),
        (math.inf, 1.0, "bf16"),
        (1.0, math.inf, "fp32"),
    ],
)
def test_bf16_has_to_be_clearly_faster(monkeypatch, may_gain, single, half, chosen):
    monkeypatch.setattr(
        precision,
        "_epoch_seconds",
        lambda make, name, world: {"fp32": single, "bf16": half}[name],
    )
    assert precision.faster(None, torch.device("cpu"), ALONE) == chosen


def test_without_bf16_instructions_nothing_is_timed(monkeypatch):
    monkeypatch.setattr(
        precision,
        "_convolution_seconds",
        lambda dtype: {torch.float32: 1.0, torch.bfloat16: 2.0}[dtype],
    )
    assert precision.faster(None, torch.device("cpu"), ALONE) == "fp32"
    assert precision.faster(None, torch.device("mps"), ALONE) == "fp32"


def test_a_precision_without_enough_memory_is_not_taken():
    def too_large(name):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def broken(name):
        raise RuntimeError("another error")

    assert precision._epoch_seconds(too_large, "fp32", ALONE) == math.inf
    with pytest.raises(RuntimeError, match="another error"):
        precision._epoch_seconds(broken, "fp32", ALONE)
    # One of several would go on to other steps than those in which the rest wait for it.
    with pytest.raises(MemoryError, match="name a precision"):
        precision._epoch_seconds(too_large, "fp32", World(1, 2))


def test_a_trial_does_not_learn_and_so_cannot_diverge():
    def diverging(name):
        return trainer_of("softmax", precision=name, learning_rate=1e30)

    assert precision._epoch_seconds(diverging, "fp32", ALONE) < math.inf


def test_a_gpu_is_timed_with_whole_batches_and_a_cpu_with_few_images():
    assert precision.trial_size(torch.device("cuda"), 64, 1)[0] == 64
    assert precision.trial_size(torch.device("cpu"), 64, 2)[0] == 16
    assert precision.trial_size(torch.device("cpu"), 6, 1)[0] == 6


IN_TWO_PROCESSES = """
import sys
from utils import precision
precision._may_be_faster = lambda device: True
import main
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_processes_time_their_steps_together(tmp_path):
    """DUQ's steps wait for the other process's."""
    (tmp_path / "two.py").write_text(IN_TWO_PROCESSES)
    records, name = [], "auto"
    for folder in ("first", "second"):
        runs = tmp_path / folder / "runs"
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node=2",
            str(tmp_path / "two.py"),
            "--loss",
            "duq",
        ]
        done = subprocess.run(
            [*command, *QUICK, "--device", "cpu", "--runs", str(runs), "--precision", name],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        records.append(record_of(tmp_path / folder, "duq"))
        name = records[0]["config"]["precision"]
    assert without_times(records[0]) == without_times(records[1])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_graphs_are_timed(run_main, tmp_path, monkeypatch):
    made, seconds = [], precision._epoch_seconds

    def watched(training, name, world):
        def keep(name):
            made.append(training(name))
            return made[-1]

        return seconds(keep, name, world)

    monkeypatch.setattr(precision, "_epoch_seconds", watched)
    assert run_main("--precision", "auto", "--device", "cuda", *QUICK)[0] == 0
    assert [trainer.whole_step.graph is not None for trainer in made] == [True, True]
    first = record_of(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "earlier")
    assert run_main("--precision", first["config"]["precision"], "--device", "cuda", *QUICK)[0] == 0
    assert without_times(first) == without_times(record_of(tmp_path))
