"""Many runs: the list of what is left to do, GNU parallel, and a real Slurm."""

import os
import shlex
import shutil
import subprocess
import sys
import time

import pytest

from experiment import records
from tests import slurm
from tests.common import ROOT, record_of, without_times

SHORT = ("--epochs", "2", "--device", "cpu")


def listed(tmp_path, *arguments, **environment):
    """The commands that run_digits.sh lists, for runs below tmp_path, and what it says besides."""
    given = (
        os.environ
        | {"PYTHON": sys.executable, "RUNS": str(tmp_path / "runs"), "SEEDS": "1 2"}
        | environment
    )
    done = subprocess.run(
        ["bash", "run_digits.sh", "--list", *arguments],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_the_list_leaves_out_what_is_finished_and_what_cannot_be_done_yet(tmp_path):
    wanted = {"LOSSES": "softmax ensemble godin godin_preprocessing"}

    def left():
        lines, said = listed(tmp_path, **wanted)
        return [
            " ".join(
                word
                for word in shlex.split(line)
                if word in ("softmax", "godin", "1", "2")
                or word.endswith(".py")
                or "/runs/" in word
            )
            for line in lines
        ], said

    def finish(loss, seed, content="{}"):
        folder = tmp_path / "runs" / "digits" / "smallcnn" / loss / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / records.METRICS).write_text(content)
        return folder

    trainings = [f"main.py {loss} {seed}" for loss in ("softmax", "godin") for seed in (1, 2)]
    assert left() == (trainings, "")
    finish("softmax", 1)
    assert left() == ([trainings[0].replace("1", "2"), *trainings[2:]], "left out: 1 finished\n")
    ensemble = f"ensemble.py {finish('softmax', 2).parent}"
    godin = finish("godin", 2)
    assert left()[0] == [f"{ensemble} 1 2", trainings[2], f"detect.py {godin}"]
    finish("ensemble", "1+2")
    finish("godin", 2, '{"detectors": {"preprocessing": {}}}')
    assert left() == ([trainings[2]], "left out: 4 finished\n")


def test_an_ensemble_is_of_the_seeds_that_are_named(tmp_path):
    for seed in (1, 2, 3):
        folder = tmp_path / "runs" / "digits" / "smallcnn" / "softmax" / str(seed)
        folder.mkdir(parents=True)
        (folder / records.METRICS).write_text("{}")
    (line,), _ = listed(tmp_path, LOSSES="ensemble", SEEDS="3 1")
    assert shlex.split(line)[1:] == ["ensemble.py", str(folder.parent), "--members", "3", "1"]
    (folder.parent.parent / "ensemble" / "1+3").mkdir(parents=True)
    (folder.parent.parent / "ensemble" / "1+3" / records.METRICS).write_text("{}")
    assert listed(tmp_path, LOSSES="ensemble", SEEDS="3 1") == ([], "left out: 1 finished\n")


def test_a_star_among_the_losses_is_no_list_of_files(tmp_path):
    lines, _ = listed(tmp_path, LOSSES="* softmax", SEEDS="1")
    assert [shlex.split(line)[shlex.split(line).index("--loss") + 1] for line in lines] == [
        "*",
        "softmax",
    ]


@pytest.fixture
def noting(tmp_path):
    """The environment with a Python that only notes its arguments, a line a call, and the file that
    has them.
    """
    python, noted = tmp_path / "bin" / "python", tmp_path / "noted"
    python.parent.mkdir()
    python.write_text(f'#!/bin/bash\necho "$@" >> {noted}\n')
    python.chmod(0o755)
    return os.environ | {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "LOSSES": "softmax",
        "SEEDS": "1",
    }, noted


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ([], None),
        (["--runs", "x/y"], "x/y"),
        (["--runs=x/y"], "x/y"),
        (["RUNS"], "x/y"),
        (["--runs", "{}/z"], "z"),
    ],
)
def test_paths_that_scripts_are_given_are_relative_to_where_the_user_is(
    tmp_path, noting, given, runs
):
    environment, noted = noting
    given = [each.format(tmp_path) for each in given]
    if given == ["RUNS"]:
        environment, given = environment | {"RUNS": "x/y"}, []
    given += ["--ood", "near=o/p", "photos", "q.npz", "--data-dir", "d"]
    done = subprocess.run(
        ["bash", str(ROOT / "run_digits.sh"), *given],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = str(tmp_path / runs) if runs else "runs"  # by default below the scripts
    (training,) = [line for line in noted.read_text().splitlines() if line.startswith("main.py")]
    assert f"--runs {expected} " in training.replace("=", " ")
    assert training.endswith(
        f"--ood near={tmp_path}/o/p photos {tmp_path}/q.npz --data-dir {tmp_path}/d"
    )
    # The table of these runs.
    assert noted.read_text().splitlines()[-1] == f"analyze.py --no-detail --runs {expected}/digits"


def test_the_tables_script_too_is_given_paths_relative_to_where_the_user_is(tmp_path, noting):
    environment, noted = noting
    subprocess.run(
        ["bash", str(ROOT / "analize.sh"), "--runs", "a", "--report=b"],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert (
        noted.read_text().splitlines()[-1]
        == f"analyze.py --runs {tmp_path}/a --report={tmp_path}/b"
    )


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("parallel"), reason="needs GNU parallel")
def test_gnu_parallel_makes_the_list_with_a_gpu_a_slot(tmp_path):
    lines, _ = listed(tmp_path, *SHORT, LOSSES="softmax dismax")
    (tmp_path / "runs.txt").write_text("\n".join(lines) + "\n")
    page = (ROOT / "docs" / "several-gpus.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("parallel ")).split("#")[0]
    command = command.replace("runs.txt", str(tmp_path / "runs.txt")).replace("-j 4", "-j 2")
    shown = command.replace("eval {}", "printenv CUDA_VISIBLE_DEVICES")
    done = subprocess.run(["bash", "-c", shown], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout
    assert set(done.stdout.splitlines()) <= {"0", "1"}
    assert subprocess.run(["bash", "-c", command], cwd=ROOT).returncode == 0
    assert len(list(tmp_path.rglob(records.METRICS))) == 4
    assert listed(tmp_path, *SHORT, LOSSES="softmax dismax")[0] == []


needs_slurm = pytest.mark.skipif(
    not slurm.available(), reason="needs root, slurm-wlm and munge: apt-get install slurm-wlm munge"
)


@pytest.fixture
def cluster(tmp_path):
    """A Slurm of two nodes on this host; gives a function that runs one of its commands, and one
    that waits.
    """
    (tmp_path / "slurm").mkdir()
    with slurm.cluster(tmp_path / "slurm") as environment:
        environment |= {
            "PATH": f"{os.path.dirname(sys.executable)}:{environment['PATH']}",
            "OMP_NUM_THREADS": "1",
        }

        def tell(*command):
            return subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            ).stdout

        def wait(done, seconds=900):
            end = time.monotonic() + seconds
            while not done():
                assert time.monotonic() < end, said(tmp_path) + tell("squeue", "--long")
                time.sleep(0.3)

        yield tell, wait


def said(tmp_path):
    """What the jobs of an array wrote."""
    return "".join(path.read_text() for path in sorted(tmp_path.glob("job*.log")))


def submitted(tell, tmp_path, lines, *options):
    """Submit commands with run_slurm.sh; the array's number."""
    (tmp_path / "runs.txt").write_text("\n".join(lines) + "\n")
    return tell(
        "bash",
        "run_slurm.sh",
        str(tmp_path / "runs.txt"),
        f"--output={tmp_path}/job%a.log",
        *options,
    ).split()[-1]


@pytest.mark.slow
@needs_slurm
def test_a_slurm_array_with_warned_and_preempted_jobs_is_complete_at_the_end(
    cluster, tmp_path, run_main
):
    """Four runs of the digits: one is preempted, and all are warned within a minute of their start,
    of a limit of three.
    """
    tell, wait = cluster
    given = ("--epochs", "1200", "--device", "cpu", "--checkpoint-every", "0.02", "minutes")
    lines, _ = listed(tmp_path, *given, LOSSES="softmax dismax")
    below = tmp_path / "runs" / "digits" / "smallcnn"
    array = submitted(tell, tmp_path, lines, "--time=3")
    wait(lambda: len(list(below.rglob(records.LAST))) == 2)
    node = tell("squeue", "--noheader", "--format=%N", f"--jobs={array}_1").strip()
    (tmp_path / "urgent.sh").write_text("#!/bin/bash\nsleep 3\n")
    tell(
        "sbatch",
        "--partition=high",
        f"--nodelist={node}",
        f"--output={tmp_path}/urgent.log",
        str(tmp_path / "urgent.sh"),
    )
    wait(lambda: len(list(below.rglob(records.METRICS))) == 4 and not tell("squeue", "--noheader"))
    assert said(tmp_path).count("DUE TO PREEMPTION") == 1
    stopped = said(tmp_path).count("; the same command goes on")
    assert stopped > 1  # the preempted one, and those that were warned
    assert said(tmp_path).count("resuming after") == stopped
    assert said(tmp_path).count("written to") == 4
    for seed in (1, 2):
        run_main(
            "--loss", "softmax", "--seed", str(seed), *given, "--runs", str(tmp_path / "alone")
        )
        record = records.read_record(
            tmp_path / "alone" / "digits" / "smallcnn" / "softmax" / str(seed) / records.METRICS
        )
        assert without_times(record_of(tmp_path, "softmax", seed)) == without_times(record)
    command = [sys.executable, "analyze.py", "--runs", str(below)]
    table = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"COLUMNS": "120"}, capture_output=True, text=True
    )
    assert (table.returncode, table.stderr) == (0, "")
    assert "SoftMax (n=2)" in table.stdout
    assert "DisMax (n=2)" in table.stdout
    assert listed(tmp_path, *given, LOSSES="softmax dismax")[0] == []


@pytest.mark.slow
@needs_slurm
def test_a_cancelled_slurm_job_writes_a_checkpoint_and_is_not_queued_again(cluster, tmp_path):
    tell, wait = cluster
    lines, _ = listed(
        tmp_path, "--epochs", "100000", "--device", "cpu", LOSSES="softmax", SEEDS="1"
    )
    array = submitted(tell, tmp_path, lines)
    wait(lambda: list(tmp_path.rglob(records.EPOCHS)))
    tell("scancel", array)
    wait(lambda: not tell("squeue", "--noheader"), 60)
    assert "; the same command goes on" in said(tmp_path)
    assert list(tmp_path.rglob(records.LAST))
    assert "Restarts=0" in tell("scontrol", "show", "job", "--oneliner", array)
