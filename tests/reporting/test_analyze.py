"""analyze.py: what it reads, what it leaves out by name, and how it writes its output."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from experiment import records, search
from tests.common import ROOT, in_time, special
from tests.reporting.tables import changed, printed, rows_of
from utils import interruption


def test_damaged_records_and_other_formats_are_named_and_left_out(runs, capsys):
    folder, written = runs
    lacking = {name: value for name, value in written[0].items() if name != "titles"}
    damaged = (
        json.dumps(written[0])[:200],
        "",
        "[]",
        json.dumps(written[0] | {"format": 99}),
        json.dumps(lacking),
    )
    damaged += tuple(json.dumps(written[0] | {"config": config}) for config in ({}, []))
    for number, content in enumerate(damaged):
        path = folder / f"bad{number}" / records.METRICS
        path.parent.mkdir()
        path.write_text(content)
    status, out, err = printed(capsys, "--runs", folder, "--format", "markdown")
    assert status == 0
    assert "SoftMax (n=3)" in out
    assert [f"bad{number}" in line for number, line in enumerate(err.splitlines())] == [True] * 7
    assert "lacks titles" in err


def test_runs_behind_a_link_are_found(runs):
    root, written = runs
    (root / "DisMax without FPR").rename(root.parent / "elsewhere")
    (root / "DisMax without FPR").symlink_to(root.parent / "elsewhere")
    (root / "SoftMax" / "loop").symlink_to(root)
    assert len(search.find_records(root)[0]) == len(written)
    assert len(search.run_folders([root])) == len(written)


def test_a_copy_of_a_run_does_not_count_twice(runs, capsys):
    folder, written = runs
    path = folder / "zz copy" / records.METRICS
    path.parent.mkdir()
    path.write_text(
        json.dumps(written[0] | {"config": written[0]["config"] | {"runs": "elsewhere"}})
    )
    _, out, err = printed(capsys, "--runs", folder, "--format", "markdown")
    assert "SoftMax (n=3)" in out
    assert f"{path} is the same run as" in err


def test_a_folder_without_runs_is_an_error(tmp_path, capsys):
    status, out, err = printed(capsys, "--runs", tmp_path / "none")
    assert (status, out) == (2, "")
    assert "no finished run" in err


@pytest.mark.parametrize("style", ["markdown", "latex", "csv"])
def test_a_report_in_a_format_of_tables_is_an_error_in_one_line(runs, tmp_path, capsys, style):
    folder = tmp_path / "page"
    status, out, err = printed(capsys, "--runs", runs[0], "--report", folder, "--format", style)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"--format {style}" in err
    assert not folder.exists()


DETECTION, OWN = ("detection", "svhn"), ("detection", "svhn", "scores", "t1", "MPS")


INSIDE = [  # what nothing may be averaged from
    (("classification", "test", "t1", "accuracy"), (7, -0.1, True, "0.9", None, [], float("inf"))),
    (("classification", "test", "calibrated", "ece"), (1.5, {})),
    (("classification", "test"), ([], None)),
    ((*OWN, "auroc"), (95.0, None)),
    (OWN, ({}, [], 0.5)),
    ((*DETECTION, "role"), ("nearer", None, [])),
    ((*DETECTION, "title"), (5, None, ["SVHN"])),
    ((*DETECTION, "scores"), ({"t1": {}, "calibrated": {}}, None)),
    (("titles", "loss"), (5, None, {})),
    (("titles", "data"), (["x"],)),
    (("score",), ("unknown",)),
    (("scores_at",), ("t2", [])),
    (("config", "versions"), (["dismax"], "1", {"dismax": "2"}, {"dismax": 0})),
    (("config", "seed"), ("../../../elsewhere", "1/2", "", -1, 1.5, True, [1], 2**32)),
    (("config", "loss"), ("../../x", "/tmp/x", "..", "", "a\0b", 3)),
    (("config", "recipe"), ("unknown", None, [])),
    (("config", "epochs"), ("300", 0, 1e3, None)),
    (("config", "ood"), ("svhn", [1], None)),
    (("members",), ([], "12", [1.5], ["../x"])),
    (("temperature",), ([], {"value": 0, "split": "test"}, {"value": 1, "split": 3})),
    (
        ("detectors",),
        ([], {"odin": 3}, {"odin": {"title": 3}}, {"odin": {"title": "ODIN", "version": "2"}}),
    ),
    (
        ("detectors",),
        ({"odin": {"title": "ODIN", "sets": {}}}, {"odin": {"title": "ODIN", "parameters": [1]}}),
    ),
]


@pytest.mark.parametrize(("path", "values"), INSIDE, ids=[".".join(path) for path, _ in INSIDE])
def test_a_record_with_an_impossible_value_is_named_and_left_out(runs, capsys, path, values):
    folder, written = runs
    for number, value in enumerate(values):
        record = copy.deepcopy(written[0])
        inside = record
        for name in path[:-1]:
            inside = inside[name]
        inside[path[-1]] = value
        place = folder / f"bad{number}" / records.METRICS
        place.parent.mkdir()
        place.write_text(json.dumps(record).replace("Infinity", "1e999"))
    status, out, err = printed(capsys, "--runs", folder, "--format", "markdown")
    assert status == 0
    assert {"SoftMax (n=3)", "DisMax without FPR (n=3)"} == {
        row[0] for row in rows_of(out)[1] if "(n=" in row[0]
    }
    lines = err.splitlines()
    assert len(lines) == len(values)
    for number, line in enumerate(lines):
        assert (
            f"bad{number}/{records.METRICS} is damaged inside "
            f"({'detection' if path == ('score',) else path[0]}" in line
        )
        assert len(line) < 250 + len(str(folder))


@pytest.mark.parametrize(("old", "new"), [
    ('"accuracy": ', '"accuracy": 0.1, "accuracy": '),
    ('"format": 1', '"format": 1, "format": 1'),
    ('"ece": ', '"ece": NaN, "other": '),
    ('"seed": 1', f'"seed": {"1" * 5000}'),
    ('"SoftMax"', "[" * 100_000),
])  # fmt: skip
def test_ambiguous_or_invalid_json_is_damaged(runs, capsys, old, new):
    folder, written = runs
    (folder / "bad").mkdir()
    (folder / "bad" / records.METRICS).write_text(json.dumps(written[0]).replace(old, new, 1))
    status, out, err = printed(capsys, "--runs", folder)
    assert (status, err.count("\n")) == (0, 1)
    assert f"bad/{records.METRICS} is cut short or damaged" in err
    assert "(n=3)" in out


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "endless", "socket"])
def test_only_regular_files_are_read(runs, capsys, kind):
    folder, _ = runs
    special(folder / "bad" / records.METRICS, kind)
    with in_time():
        status, out, err = printed(capsys, "--runs", folder)
    assert (status, err.count("\n")) == (0, 1)
    assert f"bad/{records.METRICS}" in err
    assert "(n=3)" in out
    special(folder / "efficiency.json", kind)
    with in_time():
        status, out, err = printed(capsys, "--runs", folder)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "efficiency.json" in err


@pytest.fixture
def unreadable(runs):
    """The runs again, in a folder of which another user may not read one run's folder and another's
    record; as that user.
    """
    root = Path(tempfile.mkdtemp())
    shutil.copytree(runs[0], root, dirs_exist_ok=True)
    root.chmod(0o755)
    for path in (root / "SoftMax" / "1", root / "SoftMax" / "2" / records.METRICS):
        path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield root
    os.seteuid(user)
    (root / "SoftMax" / "1").chmod(0o755)
    shutil.rmtree(root)


def test_unreadable_runs_are_named_and_the_rest_is_printed_with_status_2(unreadable, capsys):
    status, out, err = printed(capsys, "--runs", unreadable, "--format", "markdown")
    assert status == 2
    assert "SoftMax (n=1)" in out
    assert err.splitlines() == [
        f"warning: {unreadable}/SoftMax/1 cannot be read (Permission denied): left out",
        f"warning: {unreadable}/SoftMax/2/{records.METRICS} cannot be read (Permission denied): "
        "left out",
    ]
    with pytest.raises(ValueError, match="SoftMax/1 cannot be read"):
        search.run_folders([unreadable])


def test_two_folders_with_links_to_each_other_are_searched_once(runs):
    root, written = runs
    for one, other in (("SoftMax", "DisMax without FPR"), ("DisMax without FPR", "SoftMax")):
        for name in ("a", "b", "c"):
            (root / one / name).symlink_to(root / other)
    with in_time():
        folders, problems, _ = search.find_records(root)
        assert (len(folders), problems) == (len(written), [])
        assert len(search.run_folders([root, root / "SoftMax"])) == len(written)


def test_a_signal_stops_a_long_search_in_one_line():
    command = [sys.executable, "analyze.py", "--runs", "/"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if not process.stderr.readline().startswith("searching /"):
            process.kill()
            pytest.skip("this machine's disk is searched at once")
        process.send_signal(signal.SIGUSR1)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (interruption.STATUS, "")
    assert err.splitlines()[-1] == "interrupted: not all was printed"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("output", "said"),
    [("> /dev/full", "No space left on device"), ("--format csv >&-", "standard output is closed")],
)
def test_output_that_cannot_be_written_is_an_error_in_one_line(runs, output, said):
    command = f"{sys.executable} analyze.py --runs '{runs[0]}' {output}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("encoding", "given"),
    [("ascii", ["--detail"]), ("ascii", ["--help"]), ("latin-1", ["--format", "csv"])],
)
def test_characters_that_the_output_lacks_are_escaped(runs, tmp_path, encoding, given):
    folder = tmp_path / os.fsdecode(b"runs \xff \xc3\xa9")
    shutil.copytree(runs[0], folder)
    changed(folder, lambda record: record["titles"].update(loss="Ünïcode±漢\udcff"))
    special(folder / "bad" / records.METRICS, "pipe")
    command = [sys.executable, "analyze.py", "--runs", folder, *given]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if given != ["--help"]:
        expected = {"ascii": "\\xdcn\\xefcode+-\\u6f22\\udcff", "latin-1": "Ünïcode±\\u6f22\\udcff"}
        assert expected[encoding] in done.stdout.decode(encoding)
        assert b"runs \\udcff" in done.stderr
