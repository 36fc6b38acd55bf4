"""--config: a file with main.py's options."""

import json

import numpy as np
import pytest

import main
from experiment import records
from experiment.config import RunConfig
from experiment.parsing import parse
from tests.common import record_of, run_folder, without_times
from tests.finished_runs import call, read
from utils import plugins

OPTIONS = RunConfig(
    data="digits",
    epochs=2,
    learning_rate=0.001,
    ood=("near=digits89", "very_far=noise"),
    limit_train=300,
    checkpoint_every=(5.0, "epochs"),
    keep_features=True,
)
YAML = """
epochs: 2
learning-rate: 1e-3   # YAML 1.1 takes this for a text
ood: [near=digits89, noise]
limit_train: 300
checkpoint_every: [5, epochs]
keep_features: true
freeze: false
weights: null
"""
REFUSED = [
    ("o.yaml", "epoch: 2", "o.yaml: 'epoch' is no option: perhaps you meant epochs"),
    ("o.yaml", "rate of learning: 2", "o.yaml: 'rate of learning' is no option: python main.py"),
    ("o.json", '{"epochs": "many"}', "o.json: Error parsing --epochs:"),
    ("o.yaml", "epochs: {a: 1}", "o.yaml: epochs is a text, a number,"),
    ("o.yaml", 'data: ""', "o.yaml: --data has no value"),
    ("o.yaml", "epochs: 1\nseed: 2\nepochs: 3", "o.yaml cannot be read: it has 'epochs' twice"),
    ("o.json", '{"seed": 2, "seed": 3}', "o.json cannot be read: it has 'seed' twice"),
    ("o.yaml", "batch-size: 8\nbatch_size: 9", "o.yaml has batch_size twice"),
    ("o.yaml", "epochs: [1", "o.yaml cannot be read: line 1: expected ',' or ']'"),
    ("o.json", "epochs: 1", "o.json cannot be read: Expecting value"),
    ("o.yaml", "- 1", "o.yaml cannot be read: line 1: expected a mapping"),
    ("o.json", "[1]", "o.json holds no names with values"),
    ("o.txt", "epochs: 1", "--config takes a file that ends in .json, .yaml, .yml"),
    ("o.json", '{"versions": {"dismax": 1}}', "o.json has versions, as runs do, but it lacks data"),
]


@pytest.mark.parametrize(("name", "text", "message"), REFUSED)
def test_a_wrong_file_is_named_in_one_line(run_main, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    status, out, err = run_main("--config", str(tmp_path / name))
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there_is_an_error(run_main, tmp_path, name):
    status, _, err = run_main("--config", str(tmp_path / name))
    assert status == 2
    assert err.startswith(f"error: --config {tmp_path / name}"[:-1])


def test_a_yaml_file_holds_what_a_command_line_has(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text(YAML)
    assert parse(["--config", str(path)]) == OPTIONS


def test_the_command_line_wins_over_the_file(tmp_path):
    path = tmp_path / "options.yml"
    path.write_text("epochs: 2\nood: [digits89, noise]\nlr: 0.2\nkeep_features: true\n")
    given = ["--epochs", "7", "--ood", "photos", "--no-keep-features"]
    for arguments in ([*given, f"--config={path}"], [f"--config={path}", *given]):
        config = parse(arguments)
        assert (config.epochs, config.ood, config.keep_features) == (7, ("far=photos",), False)
        assert config.learning_rate == 0.2


@pytest.mark.parametrize("word", ["off", "'off'"])
def test_yaml_reads_off_as_false_and_the_option_takes_it(tmp_path, word):
    path = tmp_path / "options.yaml"
    path.write_text(f"cuda_graph: {word}\nkeep_features: off\n")
    config = parse(["--config", str(path)])
    assert (config.cuda_graph, config.keep_features) == ("off", False)


def test_every_option_survives_a_file(tmp_path, monkeypatch):
    """Every field has another value than its default."""
    monkeypatch.setattr(plugins, "LOADED", {})
    plugin = tmp_path / "empty_plugin.py"
    plugin.write_text("")
    config = RunConfig(
        plugin=(plugin,),
        data=str(tmp_path),
        model="resnet18",
        weights=str(tmp_path / "weights.pt"),
        freeze=True,
        loss="isomaxplus",
        seed=7,
        protocol="paper",
        size=64,
        recipe="finetune",
        learning_rate=1e-5,
        weight_decay=0.0,
        epochs=3,
        batch_size=9,
        ood=("near=digits89", "far=photos"),
        limit_train=200,
        limit_eval=100,
        precision="bf16",
        compile=True,
        cuda_graph="off",
        sync_batchnorm=True,
        checkpoint_every=(2.0, "epochs"),
        keep_features=True,
        tensorboard=True,
        workers=3,
        device="cuda:1",
        runs=tmp_path / "runs",
        data_dir=tmp_path / "data",
    )
    default = RunConfig().as_json()
    values = config.as_json()
    assert [name for name, value in values.items() if value == default[name]] == []
    path = tmp_path / records.CONFIG
    path.write_text(json.dumps(values))
    assert parse(["--config", str(path)]) == config


def test_a_runs_config_repeats_it(finished_digits, tmp_path, capsys):
    folder = finished_digits / "dismax" / "1"
    config = str(folder / records.CONFIG)
    status, out, _ = call(main, capsys, "--config", config)
    assert (status, out) == (0, f"{folder} is finished: skipped\n")
    status, out, _ = call(main, capsys, "--config", config, "--runs", tmp_path / "runs")
    assert status == 0
    assert "warning: this run" not in out
    again = run_folder(tmp_path)
    assert without_times(record_of(tmp_path)) == without_times(read(folder))
    one, other = (np.load(path / records.PREDICTIONS) for path in (folder, again))
    assert set(one) == set(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_config_of_another_version_is_no_repetition(run_main, tmp_path, capsys):
    """A first configuration had no versions, which were all 1."""
    path = tmp_path / records.CONFIG
    values = RunConfig().as_json()
    path.write_text(json.dumps(values))
    parse(["--config", str(path)])
    assert capsys.readouterr().out == ""
    for versions in ({"versions": {"dismax": 1}}, {}):
        del values["versions"]
        values |= versions
        path.write_text(json.dumps(values))
        config = parse(["--config", str(path)])
        assert config.identity()["versions"] == {"dismax": 2}
        out = capsys.readouterr().out
        assert out.startswith(f"warning: this run does not repeat {path}: dismax version 1 (since")
        assert out.count("\n") == 1
