"""The bash scripts: their help, and paths from where they were called."""

import shlex
import shutil
import subprocess

import pytest

from data.catalog import CATALOG
from tests.common import ROOT

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHON": "python"}
SCRIPTS = [
    *(path.name for path in sorted(ROOT.glob("*.sh"))),
    "benchmarks/gpu.sh",
    "data/prepare-cifar.sh",
    "utils/run_all.sh",
]


def bash(*arguments, cwd, **variables):
    """Run bash in a folder. Returns the finished process."""
    return subprocess.run(
        ["bash", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the scripts alone: whatever they install or run would fail or leave a file."""
    folder = tmp_path_factory.mktemp("scripts") / "copy"
    for path in (*ROOT.glob("*.sh"), *ROOT.glob("*/*.sh")):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_prints_the_comment_at_the_top_and_does_nothing_else(copy, tmp_path, script, option):
    before = sorted(copy.rglob("*"))
    arguments = (option,) if option == "-h" else ("runs.txt", option)
    done = bash(copy / script, *arguments, cwd=tmp_path)
    name = "prepare-cifar.sh" if script.startswith("data/") else script  # it calls this one
    lines = (ROOT / name).read_text().splitlines()[1:]
    comment = lines[: len(done.stdout.splitlines())]
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(line.removeprefix("# ") + "\n" for line in comment)
    assert all(line.startswith("# ") for line in comment)
    assert not lines[len(comment)].startswith("# ")
    assert done.stderr == ""
    assert sorted(copy.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def listed(done):
    """The options of the one command that a script listed: name → value, or values."""
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    options: dict[str, list[str]] = {}
    for word in shlex.split(line)[2:]:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if name:
            values = options[name] = [value] if equals else []
        else:
            values.append(word)
    return options


def test_relative_paths_mean_from_where_a_script_was_called(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "noise").mkdir()  # a folder with the name of a data set
    options = ["--ood", "near=mine", "far=sub/mine", "a.npz", "noise", "--weights=w.pt"]
    options += ["--config", "o.yaml", "--runs=r", "--data_dir", "d", "--model", "timm/resnet18"]
    done = bash(
        *(ROOT / "run_cifar10_resnet34.sh", *options, "--list"),
        cwd=tmp_path,
        SEEDS="1",
        LOSSES="dismax",
    )
    found = listed(done)
    here = str(tmp_path)
    assert found["--ood"] == [f"near={here}/mine", f"far={here}/sub/mine", f"{here}/a.npz", "noise"]
    assert found["--weights"] == [f"{here}/w.pt"]
    assert found["--config"] == [f"{here}/o.yaml"]
    assert found["--runs"] == [f"{here}/r"]
    assert found["--data_dir"] == [f"{here}/d"]
    assert found["--model"] == ["timm/resnet18"]
    assert found["--data"] == ["cifar10"]


@pytest.mark.parametrize("data", ["mine", "./mine", "sub/mine"])
def test_the_data_of_run_all_may_be_a_folder_where_it_was_called(tmp_path, data):
    for name in ("mine", "resnet34"):
        (tmp_path / name).mkdir()
    arguments = [data, "resnet34", "--weights", "pretrained", "--list"]
    done = bash(ROOT / "utils" / "run_all.sh", *arguments, cwd=tmp_path, SEEDS="1", LOSSES="dismax")
    found = listed(done)
    assert found["--data"] == [f"{tmp_path}/{data}"]
    assert found["--model"] == ["resnet34"]  # not the folder
    assert found["--weights"] == ["pretrained"]


def test_run_all_names_what_is_missing(tmp_path):
    done = bash(ROOT / "utils" / "run_all.sh", "digits", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: DATA and MODEL are missing: bash utils/run_all.sh --help\n"


def test_a_script_looks_for_the_runs_of_a_file_of_options_where_it_writes_them(tmp_path):
    arguments = ["--config", "o.yaml", "--list"]
    done = bash(
        *(ROOT / "run_cifar10_resnet34.sh", *arguments), cwd=tmp_path, SEEDS="1", LOSSES="dismax"
    )
    assert listed(done)["--runs"] == ["runs"]


def test_the_scripts_know_every_data_set():
    # Words of the catalog that name no data set are among them.
    others = ["photo", "trainx", "imagenet", "near", "smallcnn", "SVHN"]
    source = (
        f'. "{ROOT}/utils/paths.sh"; for name in "$@"; do is_data_set "$name" || echo "$name"; done'
    )
    done = bash("-c", source, "bash", *CATALOG, *others, cwd=ROOT)
    assert done.stdout.split() == others


def test_what_a_script_passes_on_begins_where_it_was_called(tmp_path):
    """A Python that prints its arguments, in place of pytest and of analyze.py."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/bash\n[ "$1" = -m ] && [ "$2" = pip ] || printf "%s\\n" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "tests" / "some").mkdir(parents=True)
    (tmp_path / "tests" / "some" / "test_a.py").touch()
    path = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    words = ["tests/some/test_a.py::test_b", "-k", "tests"]
    done = bash(ROOT / "run_tests.sh", *words, cwd=tmp_path, **path)
    assert done.stdout.splitlines()[-3:] == [f"{tmp_path}/{words[0]}", "-k", "tests"]
    done = bash(ROOT / "analize.sh", "tests", "--report", "page", cwd=tmp_path, **path)
    assert done.stdout.splitlines()[-3:] == [f"{tmp_path}/tests", "--report", f"{tmp_path}/page"]
