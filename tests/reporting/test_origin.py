"""reporting/origin.py and glossary.py: the head of the report."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from losses.scores import SCORES
from reporting.classification import CALIBRATION
from reporting.glossary import GLOSSARY
from reporting.origin import origin
from utils import failures, metrics
from utils.runtime import commit


def run(**environment):
    return {"started": "2026-11-26T18:31:00+00:00", "environment": environment}


def test_it_names_the_day_the_command_and_the_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/analyze.py", "--report", "my page"])
    head = origin({Path("a"): run(commit="0123456789abcdef+", torch="2.11.0")})
    assert head["Command"] == "python analyze.py --report 'my page'"
    written = datetime.strptime(head["Written"], "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - written).total_seconds()) < 120
    assert (commit() or "unknown")[:12] in head["Code of this page"]
    assert head["Runs"] == "1, begun 2026-11-26"
    assert head["Code of the runs"] == "commit 0123456789ab, with changes"


def test_runs_that_differ_are_counted_and_old_records_are_unknown():
    runs = {Path("a"): run(torch="2.11.0"), Path("b"): run(torch="2.11.0"), Path("c"): {}}
    assert origin(runs)["PyTorch of the runs"] == "2.11.0 (2 runs); unknown (1 runs)"


@pytest.mark.parametrize("environment", [None, [], "x", {"torch": [1]}])
def test_a_damaged_environment_does_not_stop_the_page(environment):
    assert origin({Path("a"): {"environment": environment}})["Runs"] == "1, begun unknown"


def test_every_metric_and_score_of_the_tables_is_explained():
    words = {word for entry in GLOSSARY for word in entry.split(", ")}
    labels = *metrics.LABELS.values(), *failures.LABELS.values()
    calibration = {head[0].upper() + head[1:] for head, _ in CALIBRATION.values()}
    assert {label.removesuffix(" %") for label in labels} | set(SCORES) | calibration <= words
