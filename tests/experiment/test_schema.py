"""The values that a run's record must have."""

import copy

import pytest

from experiment import records, schema
from tests.common import ROOT

PATH = next((ROOT / "results" / "cifar10_small" / "runs").rglob(records.METRICS))
RECORD = records.read_json(PATH)


def record_with(place, value):
    """A copy of a record with another value at a place, such as ("config", "seed")."""
    record = copy.deepcopy(RECORD)
    parent = record
    for name in place[:-1]:
        parent = parent[name]
    parent[place[-1]] = value
    return record


def test_a_record_of_a_finished_run_is_valid():
    schema.check(RECORD)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("config", "seed"), -1, "config.seed must be a seed"),
        (("config", "seed"), "1+x", "config.seed must be a seed"),
        (("config", "loss"), "../out", "config.loss must be a name, got '../out'"),
        (("config", "epochs"), 0, "config.epochs must be a whole number above 0, got 0"),
        (("config", "epochs"), True, "config.epochs must be a whole number above 0, got bool"),
        (("config", "ood"), "noise", "config.ood must be a list of texts"),
        (("config", "recipe"), "mine", "config.recipe must be one of paper"),
        (("temperature", "value"), float("nan"), "temperature.value must be a number above 0"),
        (("classification", "test", "t1", "ece"), 1.1, "ece must be a number from 0 to 1, got 1.1"),
        (("detection",), [], "detection must hold names and values, got list"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(place, value, message):
    with pytest.raises(ValueError, match=message):
        schema.check(record_with(place, value))


def test_a_missing_value_is_named():
    record = copy.deepcopy(RECORD)
    del record["temperature"]
    with pytest.raises(ValueError, match="it lacks temperature"):
        schema.check(record)


def test_every_set_must_have_the_runs_own_score():
    with pytest.raises(ValueError, match="lacks mine, the run's own score"):
        schema.check(record_with(("score",), "mine"))


def test_a_detectors_sets_must_be_those_of_the_record():
    detectors = {"energy": {"title": "Energy", "sets": {}}}
    with pytest.raises(ValueError, match=r"detectors\.energy\.sets are not the sets of detection"):
        schema.check(record_with(("detectors",), detectors))


def test_the_seed_of_an_ensemble_names_its_members():
    schema.check(record_with(("config", "seed"), "1+2"))
