"""main.py under torchrun: one run in several processes, with one writer.

With gloo, on the CPU.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import torch

from data.batches import Normalizer
from dismax import archive
from experiment import predictions, records
from experiment.config import RunConfig
from experiment.data import load_data
from experiment.evaluation import predict
from experiment.network import load_network
from tests.common import QUICK, ROOT, interrupted, record_of, run_folder, until, without_times
from tests.slurm import free_ports
from training import checkpoint
from utils import interruption

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def command(count, tmp_path, *arguments):
    """The command for a run in `count` processes."""
    options = ["--precision", "fp32", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    return [*TORCHRUN, f"--nproc-per-node={count}", "main.py", *options, *arguments]


@pytest.fixture
def torchrun(tmp_path):
    """A function that runs main.py in several processes. It returns the exit status of torchrun,
    the standard output and the standard error.
    """

    def run(count, *arguments):
        process = subprocess.run(
            command(count, tmp_path, *arguments),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return process.returncode, process.stdout, process.stderr

    return run


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["dismax", "godin_dropout", "sngp"])
def test_a_run_in_three_processes_is_repeatable_and_saves_the_logits_of_every_image(
    torchrun, tmp_path, loss
):
    assert torchrun(3, "--loss", loss, *QUICK)[0] == 0
    first = without_times(record_of(tmp_path, loss))
    (tmp_path / "runs").rename(tmp_path / "first")
    status, out, err = torchrun(3, "--loss", loss, *QUICK)
    assert status == 0, err
    assert out.count("written to") == 1
    assert "3 processes" in out
    record = record_of(tmp_path, loss)
    assert without_times(record) == first
    assert record["environment"]["processes"] == 3
    best = record["best"]  # the processes counted this accuracy together
    assert best["accuracy"] == record["classification"][best["split"]]["t1"]["accuracy"]
    folder = run_folder(tmp_path, loss)
    saved = predictions.read_predictions(folder)
    data = load_data(RunConfig.from_json(record["config"]))
    network = load_network(folder, torch.device("cpu"))
    network.classifier.temperature.fill_(1)
    normalize = Normalizer(data.mean, data.std, torch.device("cpu"))
    for name, images in data.evaluation_sets.items():
        outputs = predict(network, [normalize(images.pixels)], torch.autocast("cpu", enabled=False))
        logits = torch.tensor(saved[name]["logits"])
        torch.testing.assert_close(logits, outputs["logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "ending"), [("dismax", "SIGTERM to torchrun"), ("sngp", "SIGKILL to one process")]
)
def test_a_stopped_run_in_several_processes_resumes_to_the_same_record(
    torchrun, tmp_path, loss, ending
):
    folder = run_folder(tmp_path, loss)

    def epochs():
        lines = (folder / records.EPOCHS).read_text().splitlines()
        return [json.loads(line) | {"images_per_second": 0} for line in lines]

    options = ("--loss", loss, "--epochs", "20", "--checkpoint-every", "0.0001", "minutes")
    assert torchrun(2, *options)[0] == 0
    whole = without_times(record_of(tmp_path, loss))
    whole_epochs = epochs()
    (tmp_path / "runs").rename(tmp_path / "earlier")
    with subprocess.Popen(
        command(2, tmp_path, *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(process, (folder / records.LAST).exists)
        if ending == "SIGTERM to torchrun":
            process.terminate()
        else:
            children = subprocess.run(
                ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
            ).stdout.split()
            os.kill(int(children[1]), signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    if ending == "SIGTERM to torchrun":
        assert err.count("run the same command again to continue") == 1
        assert f"exitcode: {interruption.STATUS}" in err or "Signal" in err
    else:  # torchrun may stop the other process before that one notices
        texts = ("another process of this run has ended", "run the same command again to continue")
        assert any(text in err for text in texts)
    assert not (folder / records.METRICS).exists()
    status, out, err = torchrun(2, *options)
    assert status == 0, err
    assert re.search(r"resuming after (?:step \d+ of )?epoch \d+ of 20", out)
    assert without_times(record_of(tmp_path, loss)) == whole
    assert epochs() == whole_epochs


@pytest.mark.slow
def test_a_process_that_waits_for_the_others_can_be_stopped(tmp_path):
    (port,) = free_ports(1)
    environment = os.environ | {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "main.py", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as process:
        until(process, lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        process.terminate()
        process.wait(20)
    assert process.returncode == -signal.SIGTERM
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_processes_that_see_different_checkpoints_stop(tmp_path):
    (port,) = free_ports(1)
    variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def start(rank):
        options = [
            "--device",
            "cpu",
            "--precision",
            "fp32",
            "--epochs",
            "500",
            "--runs",
            str(tmp_path / str(rank)),
        ]
        environment = os.environ | variables | {"RANK": str(rank)}
        command = [sys.executable, "main.py", *options]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    processes = [start(0), start(1)]
    until(processes[0], lambda: list(tmp_path.rglob(records.EPOCHS)))
    processes[0].terminate()
    for process in processes:
        process.communicate(timeout=180)
        assert process.returncode == interruption.STATUS
    last = next(tmp_path.rglob(records.LAST))
    before = last.read_bytes()
    processes = [start(0), start(1)]
    for process in processes:
        _, err = process.communicate(timeout=180)
        assert process.returncode == 2
        assert "see different checkpoints in" in err
    assert last.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--loss", "dismax", "--batch-size", "12"],
            "180 images, shared by 2 processes: a batch of 6 is too small for FPR",
        ),
        (
            ["--loss", "softmax", "--batch-size", "3"],
            "a batch of 3 images is too small for 2 processes",
        ),
        (["--device", "cuda:0"], "--device cuda:0 would give all 2 processes the same GPU"),
        (["--sync-batchnorm"], "--sync-batchnorm is for several processes on GPUs"),
    ],
)
def test_options_that_two_processes_cannot_use_are_an_error(torchrun, tmp_path, options, message):
    status, _, err = torchrun(2, *QUICK, *options)
    assert status != 0
    assert message in err
    assert "exitcode: 2" in err
    assert not list(tmp_path.rglob("*.*"))


def test_sync_batchnorm_in_one_process_is_refused(run_main, tmp_path):
    status, _, err = run_main("--sync-batchnorm")
    assert status == 2
    assert "start it with torchrun" in err
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_two_processes_is_refused_by_one(run_main, tmp_path, monkeypatch):
    interrupted(run_main, monkeypatch, 1, *QUICK)
    path = run_folder(tmp_path) / records.LAST
    saved = checkpoint.load(path)
    saved["trainer"]["processes"] *= 2
    archive.save(path, saved)
    before = path.read_bytes()
    status, _, err = run_main(*QUICK)
    assert status == 2
    assert "2 processes wrote it, this is 1: take torchrun --nproc-per-node=2" in err
    assert path.read_bytes() == before


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
def test_with_synchronised_batch_norms_two_gpus_train_like_one(script, tmp_path):
    """Three epochs of a loss without mixing: equal numbers except for rounding."""
    options = ["--loss", "softmax", "--precision", "fp32", "--device", "cuda", *QUICK]
    commands = {
        "one": ["main.py", *options],
        "two": [*TORCHRUN[1:], "--nproc-per-node=2", "main.py", "--sync-batchnorm", *options],
    }
    epochs = {}
    for name, arguments in commands.items():
        process = script(*arguments, "--runs", str(tmp_path / name / "runs"))
        assert process.returncode == 0, process.stderr
        log = run_folder(tmp_path / name, "softmax") / records.EPOCHS
        epochs[name] = [json.loads(line) for line in log.read_text().splitlines()]
    for one, two in zip(epochs["one"], epochs["two"], strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=0.02)
        expected = pytest.approx(one["validation_accuracy"], abs=0.03)
        assert two["validation_accuracy"] == expected
