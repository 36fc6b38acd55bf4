"""The values that a run's record must have."""

import copy
import dataclasses

import pytest

from experiment import records, schema
from experiment.config import RunConfig
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
        (("config", "epochs"), 0, "config.epochs must be a whole number above 0, or null, got 0"),
        (
            ("config", "epochs"),
            True,
            "config.epochs must be a whole number above 0, or null, got bool",
        ),
        (("config", "ood"), "noise", "config.ood must be a list of texts"),
        (("config", "recipe"), "mine", "config.recipe must be one of paper"),
        (("config", "protocol"), "mine", "config.protocol must be one of heldout, paper"),
        (("config", "precision"), "auto", "config.precision must be one of fp32, bf16, fp16"),
        (("config", "batch_size"), 1, "config.batch_size must be a whole number above 1, got 1"),
        (("config", "limit_eval"), 0, "config.limit_eval must be a whole number above 0, or null"),
        (("config", "compile"), 1, "config.compile must be true or false, got 1"),
        (("config", "checkpoint_every"), [0, "epochs"], "every must be a number above 0, and min"),
        (("config", "checkpoint_every"), [1, "steps"], "every must be a number above 0, and min"),
        (("fingerprints",), {"train": 1}, "fingerprints.train must be text, got 1"),
        (("temperature", "split"), "noise", "temperature.split must be one of validation, test"),
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


def test_null_stands_for_a_rate_of_no_wrong_answers_but_not_for_an_area():
    found = {"aurc": 0.0, "auroc": None, "fpr95": None}
    schema.check(RECORD | {"misclassification": {"t1": {}, "calibrated": {"MPS": found}}})
    found["aurc"] = None
    with pytest.raises(ValueError, match=r"calibrated\.MPS\.aurc must be a number from 0 to 1"):
        schema.check(RECORD | {"misclassification": {"t1": {}, "calibrated": {"MPS": found}}})


@pytest.mark.parametrize("value", [{"x": "y"}, [[]], -1.5])
@pytest.mark.parametrize("name", [name.removesuffix("?") for name in schema.CONFIG])
def test_every_field_of_the_configuration_is_checked(name, value):
    with pytest.raises(ValueError, match=rf"config\.{name}(\.x)? must "):
        schema.check(record_with(("config", name), value))


def test_the_schema_has_all_fields_of_a_configuration():
    names = {field.name for field in dataclasses.fields(RunConfig)}
    assert {name.removesuffix("?") for name in schema.CONFIG} == names | {"versions"}
    schema.check_config(RunConfig(precision="fp32").as_json())


def test_the_seed_of_an_ensemble_names_its_members():
    ensemble = record_with(("config", "seed"), "1+2") | {"members": [1, 2]}
    schema.check(ensemble)
    del ensemble["members"]
    with pytest.raises(ValueError, match=r"seed must be a number for a run, .* got '1\+2'"):
        schema.check(ensemble)
