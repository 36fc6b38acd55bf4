"""--precision auto: it times training steps like the run's, and changes nothing else."""

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
def bf16_possible(monkeypatch):
    """Make the program believe that the CPU has bf16 instructions."""
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
def test_auto_gives_the_same_record_as_naming_the_faster_precision(
    run_main, tmp_path, monkeypatch, bf16_possible, loss, faster, other
):
    epoch_seconds = precision._epoch_seconds

    def measure(make_trial, name, world):
        seconds = epoch_seconds(make_trial, name, world)
        return seconds + 9 if name == other else seconds

    monkeypatch.setattr(precision, "_epoch_seconds", measure)
    options = ("--loss", loss, "--epochs", "1", "--limit-train", "72")
    assert run_main("--precision", "auto", *options)[0] == 0
    record = record_of(tmp_path, loss)
    assert record["config"]["precision"] == faster
    (tmp_path / "runs").rename(tmp_path / "earlier")
    assert run_main("--precision", faster, *options)[0] == 0
    assert without_times(record) == without_times(record_of(tmp_path, loss))


def pretend_seconds(monkeypatch, fp32, bf16):
    """Let the trials of the precisions take these seconds."""
    seconds = {"fp32": fp32, "bf16": bf16}
    monkeypatch.setattr(precision, "_epoch_seconds", lambda make, name, world: seconds[name])


def test_auto_keeps_the_precision_of_a_run_that_exists(run_main, monkeypatch, bf16_possible):
    options = ("--precision", "auto", *QUICK)
    pretend_seconds(monkeypatch, fp32=2, bf16=1)
    assert run_main(*options)[0] == 0
    pretend_seconds(monkeypatch, fp32=1, bf16=2)
    status, out, _ = run_main(*options)
    assert status == 0
    assert "finished" in out
    assert run_main("--precision", "fp32", *QUICK)[0] == 2


def test_a_process_stops_if_another_began_the_run_in_another_precision(
    run_main, tmp_path, monkeypatch, bf16_possible
):
    options = ("--loss", "softmax", "--epochs", "1", "--limit-train", "50", "--limit-eval", "20")
    statuses = []  # of the other process

    def seconds(make_trial, name, world):
        if not statuses:  # the other process makes its run during this one's trial
            statuses.append(run_main("--precision", "fp32", *options)[0])
        return {"fp32": 2, "bf16": 1}[name]

    monkeypatch.setattr(precision, "_epoch_seconds", seconds)
    status, _, err = run_main("--precision", "auto", *options)
    assert statuses == [0]
    assert status == 3
    assert "in fp32: run the same command again" in err
    assert record_of(tmp_path, "softmax")["config"]["precision"] == "fp32"
    status, out, _ = run_main("--precision", "auto", *options)
    assert status == 0
    assert "finished" in out


@pytest.mark.parametrize("size", ["2", "5"])
def test_auto_refuses_an_impossible_batch_size_with_the_same_message(run_main, bf16_possible, size):
    result = run_main("--precision", "fp32", "--batch-size", size)
    assert result[0] == 2
    assert run_main("--precision", "auto", "--batch-size", size) == result


@pytest.mark.parametrize(
    ("single", "half", "chosen"),
    [
        (1.0, 0.5, "bf16"),
        (1.0, 0.95, "fp32"),
        (1.0, 2.0, "fp32"),
        (math.inf, 1.0, "bf16"),
        (1.0, math.inf, "fp32"),
        (math.nan, 1.0, "fp32"),  # a loss that is not finite: training says so, in fp32
        (1.0, math.nan, "fp32"),
    ],
)
def test_auto_chooses_bf16_only_if_it_is_clearly_faster(
    monkeypatch, bf16_possible, single, half, chosen
):
    pretend_seconds(monkeypatch, fp32=single, bf16=half)
    assert precision.faster(None, torch.device("cpu"), ALONE) == chosen


def test_without_bf16_instructions_auto_is_fp32(monkeypatch):
    seconds = {torch.float32: 1.0, torch.bfloat16: 2.0}
    monkeypatch.setattr(precision, "_convolution_seconds", lambda dtype: seconds[dtype])
    assert precision.faster(None, torch.device("cpu"), ALONE) == "fp32"
    assert precision.faster(None, torch.device("mps"), ALONE) == "fp32"


def too_large(name):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_a_precision_without_enough_memory_is_never_chosen():
    assert precision._epoch_seconds(too_large, "fp32", ALONE) == math.inf


def test_another_error_of_a_trial_is_raised():
    def broken(name):
        raise RuntimeError("another error")

    with pytest.raises(RuntimeError, match="another error"):
        precision._epoch_seconds(broken, "fp32", ALONE)


def test_too_little_memory_in_one_of_several_processes_is_an_error():
    """It would continue with other steps than the processes that wait for it."""
    with pytest.raises(MemoryError, match="name a precision"):
        precision._epoch_seconds(too_large, "fp32", World(1, 2))


def test_a_trial_changes_no_weights_so_it_cannot_diverge():
    def diverging(name):
        return trainer_of("softmax", precision=name, learning_rate=1e30)

    assert precision._epoch_seconds(diverging, "fp32", ALONE) < math.inf


def test_a_trial_whose_loss_is_not_finite_does_not_end_the_program():
    def broken(name):
        trainer = trainer_of("softmax", precision=name)
        torch.nn.init.constant_(trainer.model.classifier.weight, math.nan)
        return trainer

    assert math.isnan(precision._epoch_seconds(broken, "fp32", ALONE))


def test_trials_use_whole_batches_on_a_gpu_and_few_images_on_a_cpu():
    assert precision.trial_size(torch.device("cuda"), 64, 1)[0] == 64
    assert precision.trial_size(torch.device("cpu"), 64, 2)[0] == 16
    assert precision.trial_size(torch.device("cpu"), 6, 1)[0] == 6


MAIN_WITH_BF16 = """
import sys
from training import precision
precision._may_be_faster = lambda device: True
import main
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_auto_in_two_processes_gives_the_same_record_as_naming_the_precision(tmp_path):
    """The steps of DUQ's trial wait for the other process's."""
    program = tmp_path / "main_with_bf16.py"
    program.write_text(MAIN_WITH_BF16)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]

    def record_with(precision, folder):
        options = ["--loss", "duq", "--device", "cpu", "--runs", str(folder / "runs"), *QUICK]
        process = subprocess.run(
            [*torchrun, str(program), *options, "--precision", precision],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.returncode == 0, process.stderr
        return record_of(folder, "duq")

    first = record_with("auto", tmp_path / "first")
    second = record_with(first["config"]["precision"], tmp_path / "second")
    assert without_times(first) == without_times(second)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_trials_on_a_gpu_time_cuda_graphs(run_main, tmp_path, monkeypatch):
    trainers = []
    epoch_seconds = precision._epoch_seconds

    def measure(make_trial, name, world):
        def make_and_keep(name):
            trainers.append(make_trial(name))
            return trainers[-1]

        return epoch_seconds(make_and_keep, name, world)

    monkeypatch.setattr(precision, "_epoch_seconds", measure)
    assert run_main("--precision", "auto", "--device", "cuda", *QUICK)[0] == 0
    assert [trainer.whole_step.graph is not None for trainer in trainers] == [True, True]
    first = record_of(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "earlier")
    name = first["config"]["precision"]
    assert run_main("--precision", name, "--device", "cuda", *QUICK)[0] == 0
    assert without_times(first) == without_times(record_of(tmp_path))
