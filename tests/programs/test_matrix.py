"""Many runs: the list of unfinished runs, GNU parallel, and a real Slurm."""

import os
import shlex
import shutil
import subprocess
import sys
import time

import pytest

from experiment import records
from tests import slurm
from tests.common import ROOT, record_of, run_folder, without_times

SHORT = ("--epochs", "2", "--device", "cpu")


def listed(tmp_path, *arguments, **environment):
    """The commands that run_digits.sh lists for runs below tmp_path, and its standard error."""
    defaults = {"PYTHON": sys.executable, "RUNS": str(tmp_path / "runs"), "SEEDS": "1 2"}
    process = subprocess.run(
        ["bash", "run_digits.sh", "--list", *arguments],
        cwd=ROOT,
        env=os.environ | defaults | environment,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines(), process.stderr


def pretend_finished(tmp_path, loss, seed, content="{}"):
    """Write a record, so that the run counts as finished. Returns its folder."""
    folder = run_folder(tmp_path, loss, seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / records.METRICS).write_text(content)
    return folder


def important_words(line):
    """The words of a listed command that name the program, the loss, the seeds and the folder."""
    return " ".join(
        word
        for word in shlex.split(line)
        if word in ("softmax", "godin", "1", "2") or word.endswith(".py") or "/runs/" in word
    )


def test_the_list_has_neither_finished_runs_nor_commands_that_cannot_run_yet(tmp_path):
    def unfinished():
        lines, err = listed(tmp_path, LOSSES="softmax ensemble godin godin_preprocessing")
        return [important_words(line) for line in lines], err

    softmax = ["main.py softmax 1", "main.py softmax 2"]
    godin = ["main.py godin 1", "main.py godin 2"]
    assert unfinished() == ([*softmax, *godin], "")
    pretend_finished(tmp_path, "softmax", 1)
    assert unfinished() == ([softmax[1], *godin], "left out: 1 finished\n")
    runs = pretend_finished(tmp_path, "softmax", 2).parent
    folder = pretend_finished(tmp_path, "godin", 2)
    lines, _ = unfinished()
    assert lines == [f"ensemble.py {runs} 1 2", godin[0], f"detect.py {folder}"]
    pretend_finished(tmp_path, "ensemble", "1+2")
    pretend_finished(tmp_path, "godin", 2, '{"detectors": {"preprocessing": {}}}')
    assert unfinished() == ([godin[0]], "left out: 4 finished\n")


def test_the_members_of_an_ensemble_are_the_seeds(tmp_path):
    for seed in (1, 2, 3):
        runs = pretend_finished(tmp_path, "softmax", seed).parent
    (line,), _ = listed(tmp_path, LOSSES="ensemble", SEEDS="3 1")
    assert shlex.split(line)[1:] == ["ensemble.py", str(runs), "--members", "3", "1"]
    pretend_finished(tmp_path, "ensemble", "1+3")
    assert listed(tmp_path, LOSSES="ensemble", SEEDS="3 1") == ([], "left out: 1 finished\n")


def test_a_star_in_losses_is_not_replaced_with_file_names(tmp_path):
    lines, _ = listed(tmp_path, LOSSES="* softmax", SEEDS="1")
    words = [shlex.split(line) for line in lines]
    assert [each[each.index("--loss") + 1] for each in words] == ["*", "softmax"]


@pytest.fixture
def fake_python(tmp_path):
    """An environment whose Python only writes its arguments into a file, one line per call; and
    this file.
    """
    python = tmp_path / "bin" / "python"
    calls = tmp_path / "calls"
    python.parent.mkdir()
    python.write_text(f'#!/bin/bash\necho "$@" >> {calls}\n')
    python.chmod(0o755)
    path = f"{python.parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "LOSSES": "softmax", "SEEDS": "1"}, calls


@pytest.mark.parametrize(
    ("arguments", "variables", "runs"),
    [
        ([], {}, None),
        (["--runs", "x/y"], {}, "x/y"),
        (["--runs=x/y"], {}, "x/y"),
        ([], {"RUNS": "x/y"}, "x/y"),
        (["--runs", "{}/z"], {}, "z"),
    ],
)
def test_paths_in_the_arguments_are_relative_to_the_users_folder(
    tmp_path, fake_python, arguments, variables, runs
):
    environment, calls = fake_python
    arguments = [argument.format(tmp_path) for argument in arguments]
    arguments += ["--ood", "near=o/p", "photos", "q.npz", "--data-dir", "d"]
    process = subprocess.run(
        ["bash", str(ROOT / "run_digits.sh"), *arguments],
        cwd=tmp_path,
        env=environment | variables,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    expected = str(tmp_path / runs) if runs else "runs"  # the default is beside the scripts
    lines = calls.read_text().splitlines()
    (training,) = [line for line in lines if line.startswith("main.py")]
    assert f"--runs {expected} " in training.replace("=", " ")
    assert training.endswith(
        f"--ood near={tmp_path}/o/p photos {tmp_path}/q.npz --data-dir {tmp_path}/d"
    )
    # Then the script prints the table of these runs.
    assert lines[-1] == f"analyze.py {expected}/digits"


def test_paths_in_the_arguments_of_analize_are_relative_to_the_users_folder(tmp_path, fake_python):
    environment, calls = fake_python
    arguments = ["c", "--runs", "a", "--detail", "d", "--only", "e", "--report=b"]
    command = ["bash", str(ROOT / "analize.sh"), *arguments]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    last = calls.read_text().splitlines()[-1]
    assert last == (
        f"analyze.py {tmp_path}/c --runs {tmp_path}/a --detail {tmp_path}/d --only e "
        f"--report={tmp_path}/b"
    )


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("parallel"), reason="needs GNU parallel")
def test_gnu_parallel_makes_all_runs_with_one_gpu_per_job(tmp_path):
    lines, _ = listed(tmp_path, *SHORT, LOSSES="softmax dismax")
    (tmp_path / "runs.txt").write_text("\n".join(lines) + "\n")
    page = (ROOT / "docs" / "several-gpus.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("parallel "))
    command = (
        command.split("#")[0]
        .replace("runs.txt", str(tmp_path / "runs.txt"))
        .replace("-j 4", "-j 2")
    )
    print_gpu = command.replace("eval {}", "printenv CUDA_VISIBLE_DEVICES")
    process = subprocess.run(["bash", "-c", print_gpu], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout
    assert set(process.stdout.splitlines()) <= {"0", "1"}
    assert subprocess.run(["bash", "-c", command], cwd=ROOT).returncode == 0
    assert len(list(tmp_path.rglob(records.METRICS))) == 4
    assert listed(tmp_path, *SHORT, LOSSES="softmax dismax")[0] == []


needs_slurm = pytest.mark.skipif(
    not slurm.available(), reason="needs root, slurm-wlm and munge: apt-get install slurm-wlm munge"
)


@pytest.fixture
def cluster(tmp_path):
    """A Slurm of two nodes on this host.

    Yields two functions: one runs a command of Slurm and returns its output, one waits until
    something has happened.
    """
    (tmp_path / "slurm").mkdir()
    with slurm.cluster(tmp_path / "slurm") as environment:
        environment |= {
            "PATH": f"{os.path.dirname(sys.executable)}:{environment['PATH']}",
            "OMP_NUM_THREADS": "1",
        }

        def call(*command):
            return subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            ).stdout

        def wait(happened, seconds=1500):
            end = time.monotonic() + seconds
            while not happened():
                assert time.monotonic() < end, output_of_jobs(tmp_path) + call("squeue", "--long")
                time.sleep(0.3)

        yield call, wait


def output_of_jobs(tmp_path):
    """The output of all jobs of an array."""
    return "".join(path.read_text() for path in sorted(tmp_path.glob("job*.log")))


def submitted(call, tmp_path, lines, *options):
    """Submit commands with run_slurm.sh. Returns the number of the array of jobs."""
    (tmp_path / "runs.txt").write_text("\n".join(lines) + "\n")
    return call(
        "bash",
        "run_slurm.sh",
        str(tmp_path / "runs.txt"),
        f"--output={tmp_path}/job%a.log",
        *options,
    ).split()[-1]


@pytest.mark.slow
@needs_slurm
def test_a_slurm_array_with_warned_and_preempted_jobs_makes_all_runs(cluster, tmp_path, run_main):
    """Four runs of the digits. One is preempted. Slurm warns all of them within a minute after
    their start, because their time limit is three minutes.
    """
    call, wait = cluster
    options = ("--epochs", "600", "--device", "cpu", "--checkpoint-every", "0.02", "minutes")
    lines, _ = listed(tmp_path, *options, LOSSES="softmax dismax")
    below = tmp_path / "runs" / "digits" / "smallcnn"
    array = submitted(call, tmp_path, lines, "--time=3")
    wait(lambda: len(list(below.rglob(records.LAST))) == 2)
    node = call("squeue", "--noheader", "--format=%N", f"--jobs={array}_1").strip()
    (tmp_path / "urgent.sh").write_text("#!/bin/bash\nsleep 3\n")
    call(
        "sbatch",
        "--partition=high",
        f"--nodelist={node}",
        f"--output={tmp_path}/urgent.log",
        str(tmp_path / "urgent.sh"),
    )
    wait(lambda: len(list(below.rglob(records.METRICS))) == 4 and not call("squeue", "--noheader"))
    assert output_of_jobs(tmp_path).count("DUE TO PREEMPTION") == 1
    stops = output_of_jobs(tmp_path).count("; run the same command again to continue")
    assert stops > 1  # the preempted job and the warned ones
    assert output_of_jobs(tmp_path).count("resuming after") == stops
    assert output_of_jobs(tmp_path).count("written to") == 4
    for seed in (1, 2):
        run_main(
            "--loss", "softmax", "--seed", str(seed), *options, "--runs", str(tmp_path / "alone")
        )
        record = records.read_record(
            tmp_path / "alone" / "digits" / "smallcnn" / "softmax" / str(seed) / records.METRICS
        )
        assert without_times(record_of(tmp_path, "softmax", seed)) == without_times(record)
    command = [sys.executable, "analyze.py", "--runs", str(below)]
    table = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"COLUMNS": "120"}, capture_output=True, text=True
    )
    assert table.returncode == 0
    assert table.stderr == ""
    assert "SoftMax (n=2)" in table.stdout
    assert "DisMax (n=2)" in table.stdout
    assert listed(tmp_path, *options, LOSSES="softmax dismax")[0] == []


@pytest.mark.slow
@needs_slurm
def test_a_cancelled_slurm_job_writes_a_checkpoint_and_is_not_queued_again(cluster, tmp_path):
    call, wait = cluster
    lines, _ = listed(
        tmp_path, "--epochs", "100000", "--device", "cpu", LOSSES="softmax", SEEDS="1"
    )
    array = submitted(call, tmp_path, lines)
    wait(lambda: list(tmp_path.rglob(records.EPOCHS)))
    call("scancel", array)
    wait(lambda: not call("squeue", "--noheader"), 60)
    assert "; run the same command again to continue" in output_of_jobs(tmp_path)
    assert list(tmp_path.rglob(records.LAST))
    assert "Restarts=0" in call("scontrol", "show", "job", "--oneliner", array)
