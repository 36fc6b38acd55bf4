"""The tables: means and deviations recomputed, the paper's numbers beside them, and damaged records
left out by name.
"""

import copy
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from experiment import records, search
from reporting import details
from reporting import runs as reporting_runs
from reporting.details import DETAIL
from reporting.paper import PAPER
from tests.common import ROOT, in_time, special
from tests.reporting.tables import SETS, printed, rows_of
from utils import interruption


def test_the_table_is_mean_deviation_paper_and_difference(runs, capsys):
    folder, written = runs
    status, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert status == 0
    heads, rows = rows_of(out)
    # Without the efficiency, which no run measures.
    heads, rows = heads[:1] + heads[2:], [row[:1] + row[2:] for row in rows]
    assert heads[1:] == [
        "ACC %",
        "ECE",
        "near AUPR %",
        "near [MPS] AUPR %",
        "Tiny- IN AUROC %",
        "LSUN AUROC %",
        "SVHN AUPR %",
    ]
    at = next(index for index, row in enumerate(rows) if row[0] == "DisMax without FPR (n=3)")
    ours, paper, difference = ([cell.replace("*", "") for cell in row] for row in rows[at : at + 3])
    mine = [record for record in written if record["titles"]["loss"] == "DisMax without FPR"]

    def expected(values, scale=100, digits=1):
        mean, spread = scale * statistics.mean(values), scale * statistics.stdev(values)
        return f"{mean:.{digits}f}±{spread:.{digits}f}".replace("±0.", "±.")

    assert ours[1] == expected(
        [record["classification"]["test"]["t1"]["accuracy"] for record in mine]
    )
    assert (
        ours[2]
        == expected(
            [record["classification"]["test"]["calibrated"]["ece"] for record in mine], 1, 4
        )[1:]
    )
    columns = (
        ("cifar100", "MMLES", "aupr_out"),
        ("cifar100", "MPS", "aupr_out"),
        ("tinyimagenet_resize", "MMLES", "auroc"),
    )
    columns += (("lsun_resize", "MMLES", "auroc"), ("svhn", "MMLES", "aupr_out"))
    for cell, (source, score, metric) in zip(ours[3:], columns, strict=True):
        assert cell == expected(
            [record["detection"][source]["scores"]["t1"][score][metric] for record in mine]
        )
    assert paper == [
        "· paper",
        "95.1±.1",
        ".0045±.0021",
        "90.0±.2",
        "90.0±.2",
        "98.0±.5",
        "98.4±.3",
        "99.9±.1",
    ]
    accuracy = 100 * statistics.mean(
        record["classification"]["test"]["t1"]["accuracy"] for record in mine
    )
    assert difference[1] == f"{accuracy - 95.1:+.1f}"


def test_rows_without_runs_say_so(runs, capsys):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    labels = [row[0] for row in rows_of(out)[1]]
    assert "IsoMax+ (no runs)" in labels
    assert "Scaled Cosine (no runs)" in labels


def test_the_terminal_table_fits_80_columns(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--paper")
    assert max(map(len, out.splitlines())) <= 80


def changed(folder, change, loss="SoftMax"):
    """Changes the written records of a loss."""
    for path in folder.rglob(records.METRICS):
        record = records.read_record(path)
        if record["titles"]["loss"] == loss:
            change(record)
            path.write_text(json.dumps(record))


def test_what_is_within_the_bests_deviation_is_bold(runs, capsys):
    folder, _ = runs
    accuracies = iter((0.90, 0.92, 0.94))  # 92 ± 2
    for loss, each in (("SoftMax", accuracies), ("DisMax without FPR", iter((0.9001,) * 3))):

        def change(record, each=each):
            record["classification"]["test"]["t1"]["accuracy"] = next(each)

        changed(folder, change, loss)

    def bold():
        _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
        heads, rows = rows_of(out)
        return {row[0]: row[heads.index("ACC %")] for row in rows if "(n=" in row[0]}

    assert bold() == {"SoftMax (n=3)": "**92.0±2.0**", "DisMax without FPR (n=3)": "**90.0±.0**"}
    # 92 ± 0.
    changed(folder, lambda record: record["classification"]["test"]["t1"].update(accuracy=0.92))
    assert bold() == {"SoftMax (n=3)": "**92.0±.0**", "DisMax without FPR (n=3)": "90.0±.0"}
    _, out, _ = printed(capsys, "--runs", folder, "--format", "table", "--no-detail")
    assert "92.0±.0*" in out
    assert "90.0±.0 " in out
    _, out, _ = printed(capsys, "--runs", folder, "--format", "latex", "--no-detail")
    assert "\\textbf{92.0±.0}" in out


def test_of_errors_the_lowest_is_best(runs, capsys):
    folder, _ = runs
    changed(folder, lambda record: record["classification"]["test"]["calibrated"].update(ece=0.001))
    changed(
        folder,
        lambda record: record["classification"]["test"]["calibrated"].update(ece=0.002),
        "DisMax without FPR",
    )
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    heads, rows = rows_of(out)
    ece = {row[0]: row[heads.index("ECE")] for row in rows}
    assert ece["SoftMax (n=3)"] == "**.0010±.0000**"
    assert ece["DisMax without FPR (n=3)"] == ".0020±.0000"


def test_the_whole_table_has_every_row_of_the_paper_and_empty_cells_for_ours(tmp_path, capsys):
    status, out, _ = printed(capsys, "--runs", tmp_path, "--paper", "--format", "markdown")
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("|")]
    table = pd.read_csv(PAPER)
    assert (
        sum("(no runs)" in line for line in lines)
        == sum("· paper" in line for line in lines)
        == len(table)
    )
    assert all(
        set(line.split("(no runs)")[1]) <= set("| ") for line in lines if "(no runs)" in line
    )
    deep = next(lines[at + 1] for at, line in enumerate(lines) if "Deep Ensemble (no runs)" in line)
    row = table[(table["method"] == "Deep Ensemble") & (table["data"] == "cifar10")].iloc[0]
    cells = [cell.strip(" *") for cell in deep.strip("|").split("|")]
    assert cells[1:3] == [
        f"{row['efficiency']:.0f}",
        f"{row['acc']}±{row['acc_std']}".replace("±0.", "±."),
    ]
    assert cells[5:7] == ["", ""]


def test_an_ensemble_stands_beside_the_papers_with_its_number_of_members(runs, capsys):
    folder, _ = runs

    def change(record):
        record["titles"]["loss"], record["members"] = "Deep Ensemble", [1, 2, 3]
        record["config"]["model"], record["titles"]["model"] = "wideresnet2810", "WideResNet-28-10"

    changed(folder, change)
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")]
    at = rows.index("Deep Ensemble of 3 (n=3)")
    assert rows[at + 1 : at + 3] == ["· paper", "· differ."]
    assert "Deep Ensemble (no runs)" not in rows


def test_preprocessed_inputs_have_the_papers_row_and_measured_efficiency_its_column(runs, capsys):
    folder, _ = runs
    values = dict.fromkeys(DETAIL, 0.5)

    def change(record):
        record["titles"]["loss"] = "GODIN"
        sets = {source: values for source, _, _ in SETS}
        refused = {"title": "ViM", "not_applicable": "needs a linear head"}
        record["detectors"] = {
            "preprocessing": {"title": "own, perturbed", "version": 2, "sets": sets},
            "vim": refused,
        }

    changed(folder, change)
    (folder / "efficiency.json").write_text(
        json.dumps(
            {
                "rows": [
                    {
                        "network": "DenseNet-BC-100",
                        "method": "GODIN, preprocessing",
                        "efficiency": 27.3,
                    }
                ]
            }
        )
    )
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown")
    heads, rows = rows_of(out)
    at = next(index for index, row in enumerate(rows) if row[0] == "GODIN, preprocessing (n=3)")
    ours, paper, gap = (dict(zip(heads, row, strict=True)) for row in rows[at : at + 3])
    assert (ours["Eff %"], paper["Eff %"], gap["Eff %"]) == ("27", "26", "+1")
    assert ours["LSUN AUROC %"] == "50.0±.0"
    assert gap["LSUN AUROC %"] == "-49.4"
    detail = [line for line in out.splitlines() if "ViM" in line]
    assert len(detail) == len(SETS)
    assert all(line.count("n/a") == len(DETAIL) and "| 0 " in line for line in detail)
    (folder / "efficiency.json").write_text("{}")
    status, _, err = printed(capsys, "--runs", folder)
    assert status == 2
    assert "efficiency.json is damaged" in err


def test_a_wide_terminal_has_labels_in_one_line(runs, capsys, monkeypatch):
    folder, _ = runs
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = printed(capsys, "--runs", folder, "--paper")
    assert max(map(len, out.splitlines())) <= 120
    assert any(line.startswith("DisMax without FPR (n=3) ") for line in out.splitlines())


@pytest.mark.parametrize(("at", "title"), [("t1", "Energy"), ("calibrated", "Energy (at T = 1)")])
def test_a_detectors_row_says_its_temperature_where_it_is_not_the_tables(runs, capsys, at, title):
    def change(record):
        record["scores_at"] = at
        sets = {source: dict.fromkeys(DETAIL, 0.5) for source, _, _ in SETS}
        record["detectors"] = {"energy": {"title": "Energy", "version": 1, "sets": sets}}

    changed(runs[0], change)
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "markdown")
    rows = [
        line.split("|")[2].strip()
        for line in out.splitlines()
        if "Energy" in line or "MPS " in line
    ]
    assert rows.count(title) == len(SETS)
    assert "MPS" in rows


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_every_score_of_every_set_is_printed(runs, capsys, style):
    folder, _ = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", style)
    assert out.count("MMLES") == 2 * len(SETS)
    assert out.count("DTACC") == len(SETS)


def test_csv_holds_every_number(runs, tmp_path, capsys):
    folder, written = runs
    _, out, _ = printed(capsys, "--runs", folder, "--format", "csv")
    (tmp_path / "out.csv").write_text(out)
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == len(written) * len(SETS) * 2 * 2
    one = table[
        (table["method"] == "SoftMax")
        & (table["seed"] == 2)
        & (table["set"] == "SVHN")
        & (table["at"] == "t1")
    ]
    one = one.set_index("score").loc["MPS"]
    assert one["auroc"] == pytest.approx(
        written[1]["detection"]["svhn"]["scores"]["t1"]["MPS"]["auroc"]
    )


def test_damaged_and_foreign_records_are_named_and_left_out(runs, capsys):
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
    status, out, err = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert status == 0
    assert "SoftMax (n=3)" in out
    assert [f"bad{number}" in line for number, line in enumerate(err.splitlines())] == [True] * 7
    assert "lacks titles" in err


def test_runs_that_differ_do_not_share_a_table(runs, capsys):
    folder, written = runs
    other = copy.deepcopy(written[0])
    other["config"] |= {"epochs": 5, "precision": "bf16"}
    path = folder / "other" / records.METRICS
    path.parent.mkdir()
    path.write_text(json.dumps(other))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert "SoftMax (n=3)" in out
    assert "SoftMax (n=1)" in out
    assert "5 epochs, scores at T = 1, precision bf16" in out


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
    _, out, err = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    assert "SoftMax (n=3)" in out
    assert f"{path} is the same run as" in err


def test_another_metric_is_not_compared_with_the_papers(runs, capsys):
    folder, _ = runs
    for path in folder.rglob(records.METRICS):
        record = records.read_record(path)
        record["detection"]["cifar100"]["role"], record["detection"]["svhn"]["role"] = "far", "near"
        path.write_text(json.dumps(record))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
    heads, rows = rows_of(out)
    paper = dict(zip(heads[1:], [cell.replace("*", "") for cell in rows[1][1:]], strict=True))
    assert paper["near AUROC %"] == ""
    assert paper["SVHN AUPR %"] == "93.7±3.3"


def test_nothing_to_print_says_so(tmp_path, capsys):
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
def test_a_record_with_something_else_inside_is_named_and_left_out(runs, capsys, path, values):
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
    status, out, err = printed(capsys, "--runs", folder, "--format", "markdown", "--no-detail")
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
def test_json_that_says_two_things_or_none_is_damaged(runs, capsys, old, new):
    folder, written = runs
    (folder / "bad").mkdir()
    (folder / "bad" / records.METRICS).write_text(json.dumps(written[0]).replace(old, new, 1))
    status, out, err = printed(capsys, "--runs", folder, "--no-detail")
    assert (status, err.count("\n")) == (0, 1)
    assert f"bad/{records.METRICS} is cut short or damaged" in err
    assert "(n=3)" in out


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "endless", "socket"])
def test_what_is_no_regular_file_is_never_read(runs, capsys, kind):
    folder, _ = runs
    special(folder / "bad" / records.METRICS, kind)
    with in_time():
        status, out, err = printed(capsys, "--runs", folder, "--no-detail")
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


def test_what_may_not_be_read_is_named_and_the_rest_printed_with_status_2(unreadable, capsys):
    status, out, err = printed(capsys, "--runs", unreadable, "--no-detail", "--format", "markdown")
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


def test_a_long_search_says_what_it_searches(runs, capsys, monkeypatch):
    monkeypatch.setattr(search, "PATIENCE", 0)
    _, _, err = printed(capsys, "--runs", runs[0], "--no-detail")
    assert f"searching {runs[0]}: 1 folders so far, 0 runs found (Ctrl-C stops)\n" in err


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
    [("ascii", ["--no-detail"]), ("ascii", ["--help"]), ("latin-1", ["--format", "csv"])],
)
def test_an_output_of_another_encoding_takes_every_character(runs, tmp_path, encoding, given):
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


def test_the_work_grows_with_the_number_of_runs_and_not_faster(runs, capsys, monkeypatch):
    """Each run's group is found once a table, and each table is made once."""
    folder, written = runs
    for seed in range(4, 60):
        path = folder / f"more{seed}" / records.METRICS
        path.parent.mkdir()
        path.write_text(json.dumps(written[0] | {"config": written[0]["config"] | {"seed": seed}}))
    calls, group_of = [], reporting_runs.group_of
    for module in (reporting_runs, details):
        monkeypatch.setattr(module, "group_of", lambda record: calls.append(1) or group_of(record))
    assert printed(capsys, "--runs", folder)[0] == 0
    assert len(calls) <= 2 * 62


def test_the_papers_table_is_whole():
    table = pd.read_csv(PAPER)
    assert len(table) == 33
    assert table.groupby(["data", "network"]).ngroups == 6
    assert not table["acc"].isna().any()
