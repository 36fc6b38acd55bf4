"""One run in several processes: the same steps as in one, every image once, one writer.

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
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from dismax import archive
from experiment import predictions, records
from experiment.config import RunConfig
from experiment.data import load_data
from experiment.evaluation import predict
from experiment.network import load_network
from losses import LOSSES
from tests.common import QUICK, ROOT, record_of, until, without_times
from tests.sharing import trained
from tests.slurm import free_ports
from training import checkpoint
from utils import interruption
from utils.distributed import ALONE, World

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
# The losses without mixing (each process mixes its own share) and without dropout (each draws its
# own).
EXACT = sorted(LOSSES.keys() - {"dismax", "godin_dropout"})


def command(count, tmp_path, *arguments):
    given = ["--precision", "fp32", "--device", "cpu", "--runs", str(tmp_path / "runs"), *arguments]
    return [*TORCHRUN, f"--nproc-per-node={count}", "main.py", *given]


@pytest.fixture
def torchrun(tmp_path):
    """Runs main.py in several processes; gives the exit status of torchrun, and what was said."""

    def run(count, *arguments):
        given = command(count, tmp_path, *arguments)
        done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout, done.stderr

    return run


@given(count=st.integers(0, 300), size=st.integers(1, 9))
def test_shares_are_disjoint_and_whole(count, size):
    shares = [list(range(count))[World(rank, size).shard(count)] for rank in range(size)]
    assert [each for share in shares for each in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(
    count=st.integers(2, 70),
    batch_size=st.integers(6, 20),
    size=st.integers(1, 3),
    start=st.integers(0, 2),
)
def test_the_processes_batches_are_together_those_of_one(count, batch_size, size, start):
    pixels = torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8)
    device, normalize = torch.device("cpu"), Normalizer((0.5,) * 3, (0.3,) * 3, torch.device("cpu"))
    images = Images(pixels, torch.arange(count), ())

    def epoch(world, start):
        batches = TrainingBatches(
            images, normalize, batch_size, 1, True, device, world.size, world.shard
        )
        return batches.sizes, list(batches.epoch(torch.Generator().manual_seed(3), start))

    sizes, alone = epoch(ALONE, 0)
    shared = [epoch(World(rank, size), start) for rank in range(size)]
    for number, total in enumerate(shared[0][0][start:]):
        parts = [batches[number] for _, batches in shared]
        assert all(len(targets) >= 2 for _, targets in parts)
        inputs, targets = (torch.cat([part[i] for part in parts]) for i in range(2))
        assert len(targets) == total
        assert inputs.equal(alone[start + number][0])
        assert targets.equal(alone[start + number][1])
    assert sum(sizes) - sum(shared[0][0]) < 2 * size  # a tail too small for all is left out


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_the_first_steps_are_those_of_one_process(tmp_path, count):
    given = [
        *TORCHRUN,
        f"--nproc-per-node={count}",
        "-m",
        "tests.sharing",
        str(tmp_path / "found.pt"),
        *EXACT,
    ]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    everywhere = torch.load(tmp_path / "found.pt")
    assert len(everywhere) == count
    assert {found["first bad"] for found in everywhere} == {"at step 3"}
    for loss in EXACT:
        expected = trained(loss, ALONE)
        for found in everywhere:
            for name, value in expected.items():
                # SNGP's covariance is an inverse with a small ridge: what rounding changes is small
                # beside its largest number.
                near_zero = 1e-5 * value.abs().max().item() if name.endswith("covariance") else 1e-6
                torch.testing.assert_close(
                    found[loss][name], value, rtol=1e-4, atol=near_zero, equal_nan=True
                )


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["dismax", "godin_dropout", "sngp"])
def test_a_run_in_three_processes_keeps_every_images_logits_and_is_repeatable(
    torchrun, tmp_path, loss
):
    status, out, err = torchrun(3, "--loss", loss, *QUICK)
    assert status == 0, err
    assert out.count("written to") == 1
    assert "3 processes" in out
    record = record_of(tmp_path, loss)
    assert record["environment"]["processes"] == 3
    best = record["best"]  # whose accuracy the processes counted together
    assert best["accuracy"] == record["classification"][best["split"]]["t1"]["accuracy"]
    folder = tmp_path / "runs" / "digits" / "smallcnn" / loss / "1"
    kept = predictions.read_predictions(folder)
    config = RunConfig.from_json(record["config"])
    network, data = load_network(folder, torch.device("cpu")), load_data(config)
    network.classifier.temperature.fill_(1)
    normalize = Normalizer(data.mean, data.std, torch.device("cpu"))
    sets = data.evaluation | {source: part for source, (_, part) in data.ood.items()}
    for name, part in sets.items():
        expected = predict(network, [normalize(part.pixels)], torch.autocast("cpu", enabled=False))[
            "logits"
        ]
        torch.testing.assert_close(
            torch.tensor(kept[name]["logits"]), expected, rtol=1e-4, atol=1e-4
        )
    (tmp_path / "runs").rename(tmp_path / "earlier")
    torchrun(3, "--loss", loss, *QUICK)
    assert without_times(record_of(tmp_path, loss)) == without_times(record)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "loss", "way"),
    [
        (2, "dismax", "SIGTERM to torchrun"),
        (2, "dismax", "SIGKILL to one process"),
        (2, "sngp", "SIGTERM to torchrun"),
        (3, "sngp", "SIGKILL to one process"),
    ],
)
def test_a_run_in_several_processes_goes_on_to_the_same_record(
    torchrun, tmp_path, count, loss, way
):
    def log():
        lines = (
            (tmp_path / "runs" / "digits" / "smallcnn" / loss / "1" / records.EPOCHS)
            .read_text()
            .splitlines()
        )
        return [json.loads(line) | {"images_per_second": 0} for line in lines]

    given = ("--loss", loss, "--epochs", "30", "--checkpoint-every", "0.0001", "minutes")
    assert torchrun(count, *given)[0] == 0
    whole, whole_log = without_times(record_of(tmp_path, loss)), log()
    (tmp_path / "runs").rename(tmp_path / "earlier")
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(count, tmp_path, *given), cwd=ROOT, **said) as process:
        until(process, lambda: list(tmp_path.glob(f"runs/digits/smallcnn/{loss}/1/{records.LAST}")))
        if way == "SIGTERM to torchrun":
            process.terminate()
        else:
            children = subprocess.run(
                ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
            ).stdout.split()
            os.kill(int(children[1]), signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    if way == "SIGTERM to torchrun":
        assert err.count("the same command goes on") == 1
        assert f"exitcode: {interruption.STATUS}" in err or "Signal" in err
    else:  # torchrun may tell the other to leave before it notices
        assert "another process of this run has ended" in err or "the same command goes on" in err
    assert not list(tmp_path.glob(f"runs/digits/smallcnn/{loss}/1/{records.METRICS}"))
    status, out, err = torchrun(count, *given)
    assert status == 0, err
    place = re.search(r"resuming after (?:step \d+ of )?epoch (\d+) of 30", out)
    assert place
    if count == 2:
        assert without_times(record_of(tmp_path, loss)) == whole
        assert log() == whole_log
    else:
        # Three are summed in another order at the first step after: equal, but for rounding from
        # there on.
        before = int(place[1]) - 1
        assert log()[:before] == whole_log[:before]
        assert log()[before]["loss"] == pytest.approx(whole_log[before]["loss"], rel=1e-3)
        assert len(log()) == 30


@pytest.mark.slow
def test_a_process_that_waits_for_the_others_can_be_stopped(tmp_path):
    (port,) = free_ports(1)
    place = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "main.py", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | place, stderr=subprocess.PIPE
    ) as process:
        until(process, lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        process.terminate()
        process.wait(20)
    assert process.returncode == -signal.SIGTERM
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_processes_that_see_different_checkpoints_stop(tmp_path):
    (port,) = free_ports(1)
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def start(rank):
        given = [
            "--device",
            "cpu",
            "--precision",
            "fp32",
            "--epochs",
            "500",
            "--runs",
            str(tmp_path / str(rank)),
        ]
        environment = os.environ | place | {"RANK": str(rank)}
        command = [sys.executable, "main.py", *given]
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
    assert [(process.communicate(timeout=60), process.returncode)[1] for process in processes] == [
        interruption.STATUS
    ] * 2
    last = next(tmp_path.rglob(records.LAST))
    before = last.read_bytes()
    processes = [start(0), start(1)]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert all("see different checkpoints in" in err for err in said)
    assert last.read_bytes() == before


@pytest.mark.slow
def test_what_several_processes_cannot_do_is_said_and_nothing_written(torchrun, tmp_path):
    for words, message in (
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
    ):
        status, _, err = torchrun(2, *QUICK, *words)
        assert status != 0
        assert message in err
        assert "exitcode: 2" in err
        assert not list(tmp_path.rglob("*.*"))


def test_sync_batchnorm_alone_is_refused(run_main, tmp_path):
    status, _, err = run_main("--sync-batchnorm")
    assert status == 2
    assert "start it with torchrun" in err
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_two_processes_is_refused_by_one(run_main, tmp_path, monkeypatch):
    monkeypatch.setattr(
        records,
        "write_predictions",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    assert run_main(*QUICK)[0] == 1
    monkeypatch.undo()
    path = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.LAST
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
def test_with_synchronised_batch_norms_two_gpus_train_as_one(script, tmp_path):
    """Three epochs of a loss without mixing: the same accuracies but for rounding."""
    given = ["--loss", "softmax", "--precision", "fp32", "--device", "cuda", *QUICK]
    one = script("main.py", *given, "--runs", str(tmp_path / "one" / "runs"))
    two = script(
        *TORCHRUN[1:],
        "--nproc-per-node=2",
        "main.py",
        "--sync-batchnorm",
        *given,
        "--runs",
        str(tmp_path / "two" / "runs"),
    )
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    folder = "runs/digits/smallcnn/softmax/1"
    logs = [
        (tmp_path / name / folder / records.EPOCHS).read_text().splitlines()
        for name in ("one", "two")
    ]
    for first, second in zip(*(map(json.loads, log) for log in logs), strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=0.02)
        assert second["validation_accuracy"] == pytest.approx(
            first["validation_accuracy"], abs=0.03
        )
