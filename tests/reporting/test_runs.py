"""How runs are sorted into tables."""

import copy
import json

from experiment import records
from reporting import details
from reporting import runs as reporting_runs
from tests.reporting.tables import printed


def test_runs_of_different_training_do_not_share_a_table(runs, capsys):
    folder, written = runs
    other = copy.deepcopy(written[0])
    other["config"] |= {"epochs": 5, "precision": "bf16"}
    path = folder / "other" / records.METRICS
    path.parent.mkdir()
    path.write_text(json.dumps(other))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown")
    assert "SoftMax (n=3)" in out
    assert "SoftMax (n=1)" in out
    assert "5 epochs, scores at T = 1, precision bf16" in out


def test_each_run_is_grouped_once_for_each_table(runs, capsys, monkeypatch):
    """Each run's group is found once a table, and each table is made once."""
    folder, written = runs
    for seed in range(4, 60):
        path = folder / f"more{seed}" / records.METRICS
        path.parent.mkdir()
        path.write_text(json.dumps(written[0] | {"config": written[0]["config"] | {"seed": seed}}))
    calls, group_of = [], reporting_runs.group_of
    for module in (reporting_runs, details):
        monkeypatch.setattr(module, "group_of", lambda record: calls.append(1) or group_of(record))
    assert printed(capsys, "--runs", folder, "--detail")[0] == 0
    assert len(calls) <= 2 * 62
