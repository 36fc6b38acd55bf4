"""--plugin: a user's own files add rows to the tables of every program."""

import pytest

import analyze
import detect
import main
import predict
from data.catalog import CATALOG
from detectors import DETECTORS
from experiment import records
from losses import LOSSES
from losses.scores import SCORES
from models import FAMILIES
from reporting import columns
from tests.common import QUICK, ROOT
from tests.finished_runs import CPU, call, read
from tests.pages import code_blocks
from utils import plugins
from utils.metrics import DETECTION

TABLES = (LOSSES, FAMILIES, DETECTORS, CATALOG, DETECTION, plugins.LOADED)
DOCS = ROOT / "docs"
# The code of docs/plugins.md, and of the pages that it names.
FILES = dict(zip(("loss", "metric"), code_blocks(DOCS / "plugins.md", "python"), strict=True)) | {
    name: "\n".join(code_blocks(DOCS / f"add-a-{page}.md", "python"))
    for name, page in (
        ("network", "network"),
        ("data", "data-set"),
        ("detector", "detector"),
        ("column", "column"),
    )
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files of `FILES` by name. What they add is undone."""
    monkeypatch.setattr(columns, "COLUMNS", columns.COLUMNS)
    before = [dict(table) for table in TABLES], [*columns.COLUMNS]
    modules = set(plugins.sys.modules)
    paths = {}
    for name, code in FILES.items():
        paths[name] = tmp_path / f"my_{name}.py"
        paths[name].write_text(code)
    yield paths
    for table, rows in zip(TABLES, before[0], strict=True):
        table.clear()
        table.update(rows)
    columns.COLUMNS[:] = before[1]
    for name in set(plugins.sys.modules) - modules:
        if name.startswith("plugin_"):
            del plugins.sys.modules[name]


def test_every_example_of_the_pages_works_as_a_plugin(files, tmp_path, capsys):
    made = [files[name] for name in ("loss", "network", "data", "metric")]
    status, _, err = call(
        main,
        capsys,
        *("--plugin", *made, "--loss", "logitnorm", "--model", "plaincnn2", *QUICK, *CPU),
        *("--ood", "far=checkerboards", "--runs", tmp_path / "runs"),
    )
    assert (status, err) == (0, "")
    folder = tmp_path / "runs" / "digits" / "plaincnn2" / "logitnorm" / "1"
    record = read(folder)
    assert record["titles"]["loss"] == "LogitNorm"
    assert record["titles"]["model"] == "plain CNN with 2 layers"
    assert record["config"]["plugin"] == [str(path) for path in made]
    assert set(record["plugins"]) == {str(path) for path in made}
    scores = record["detection"]["checkerboards"]["scores"]["t1"][record["score"]]
    assert 0 <= scores["fpr99"] <= 1
    status, out, err = call(
        detect, capsys, folder, "--plugin", files["detector"], "--scores", "mean_distance", *CPU
    )
    assert (status, err) == (0, "")
    assert "Mean distance" in out
    status, out, err = call(
        analyze, capsys, tmp_path / "runs", "--detail", "--plugin", files["column"]
    )
    assert (status, err) == (0, "")
    assert "Brier" in out
    assert "FPR@99" in out


def test_a_run_with_a_plugin_can_be_repeated_from_its_configuration(files, tmp_path, capsys):
    given = ("--plugin", files["loss"], "--loss", "logitnorm", "--runs", tmp_path / "runs")
    assert call(main, capsys, *given, *QUICK, *CPU)[0] == 0
    config = tmp_path / "runs" / "digits" / "smallcnn" / "logitnorm" / "1" / records.CONFIG
    status, out, err = call(main, capsys, "--config", config)
    assert (status, err) == (0, "")
    assert "finished" in out


def test_a_network_whose_plugin_is_missing_says_which_it_was(files, tmp_path, capsys):
    given = ("--plugin", files["loss"], "--loss", "logitnorm", "--runs", tmp_path / "runs")
    assert call(main, capsys, *given, *QUICK, *CPU)[0] == 0
    del LOSSES["logitnorm"]
    folder = tmp_path / "runs" / "digits" / "smallcnn" / "logitnorm" / "1"
    status, _, err = call(predict, capsys, folder, ROOT / "docs" / "photographs.png")
    assert (status, err.count("\n")) == (2, 1)
    assert f"was made with --plugin {files['loss']}: name this plugin too (" in err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, "is no Python file"),
        ("notes.txt", "", "is no Python file"),
        (
            "broken.py",
            "x = 1\ny = x / 0\n",
            "failed in line 2 (ZeroDivisionError: division by zero)",
        ),
        ("syntax.py", "x = = 1\n", "SyntaxError"),
        ("exits.py", "raise SystemExit(0)\n", "failed in line 1 (SystemExit: 0)"),
        (
            "takes.py",
            "from losses import LOSSES\nLOSSES['dismax'] = LOSSES['softmax']\n",
            "replaces dismax of losses.LOSSES: choose another name",
        ),
    ],
)
def test_a_bad_plugin_is_an_error_in_one_line(tmp_path, files, capsys, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    status, out, err = call(main, capsys, "--plugin", path, "--runs", tmp_path / "runs", *QUICK)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"--plugin {path}" in err
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_two_files_of_one_name_are_refused(tmp_path, files, capsys):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "my_loss.py"
    other.write_text("")
    status, _, err = call(main, capsys, "--plugin", files["loss"], other, *QUICK)
    assert status == 2
    assert "rename one of them" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from utils.metrics import *\nDETECTION['auroc'] = DetectionMetric('X', lambda a, b: 0.5)",
         "a plugin's metric is called auroc, as another is"),
        ("from utils.metrics import *\nDETECTION['x'] = DetectionMetric('X', lambda a, b: 1e999)",
         "the metric x is a number in [0, 1], got inf"),
        ("from losses.scores import SCORES\nSCORES['MPS'] = SCORES['ES']", "replaces MPS"),
    ],
)  # fmt: skip
def test_a_plugin_changes_no_number_that_is_there(tmp_path, files, capsys, text, message):
    path = tmp_path / "sly.py"
    path.write_text(text)
    scores = dict(SCORES)
    given = ("--plugin", path, "--runs", tmp_path / "runs", *QUICK, *CPU)
    status, _, err = call(main, capsys, *given)
    SCORES.update(scores)
    assert status != 0
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("Column('ACC %', lambda row: 42.0)", "two columns are called 'ACC %'"),
        ("Column('Odd', lambda row: 1 / 0)", "the column 'Odd' fails (ZeroDivisionError"),
    ],
)
def test_a_bad_column_is_an_error_in_one_line(runs, tmp_path, files, capsys, column, message):
    path = tmp_path / "sly.py"
    path.write_text(f"from reporting.columns import COLUMNS, Column\nCOLUMNS.append({column})")
    status, _, err = call(analyze, capsys, runs, "--plugin", path)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
