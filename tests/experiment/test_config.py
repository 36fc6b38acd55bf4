"""A run's configuration: JSON, the command line, and its identity."""

import dataclasses
import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.config import Options, RunConfig, identity_of
from utils import program

texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("C",)),
    min_size=1,
    max_size=12,
)
names = texts.filter(lambda text: not text.startswith("-"))
# The word None on a command line leaves an option without a value.
models = names.filter(lambda name: name != "None")
counts = st.integers(2, 10**6)
fields = {
    "data": names,
    "loss": models,
    "seed": st.integers(0, 2**32 - 1),
    "protocol": st.sampled_from(["heldout", "paper"]),
    "ood": st.lists(names, max_size=3).map(tuple),
    "limit_train": st.none() | counts,
    "precision": st.sampled_from(["auto", "fp32", "bf16", "fp16"]),
    "compile": st.booleans(),
    "sync_batchnorm": st.booleans(),
    "checkpoint_every": st.tuples(
        st.integers(1, 1000).map(float), st.sampled_from(["minutes", "epochs"])
    ),
    "keep_features": st.booleans(),
    "runs": names.map(Path),
}
options = st.builds(
    Options,
    model=st.none() | models,
    epochs=st.none() | counts,
    batch_size=st.none() | counts,
    **fields,
)
configurations = st.builds(RunConfig, model=models, epochs=counts, batch_size=counts, **fields)


def as_command_line(options: Options) -> list[str]:
    """The arguments that give these options."""
    arguments: list[str] = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        option = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            arguments.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, tuple) and value:  # an option without a value is refused
            arguments += [option, *map(str, value)]
        elif value not in (None, ()):
            arguments += [option, str(value)]
    return arguments


@given(config=configurations)
@settings(max_examples=150, deadline=None)
def test_a_configuration_survives_json(config):
    config.check()
    assert RunConfig.from_json(json.loads(json.dumps(config.as_json()))) == config


@given(options=options)
@settings(max_examples=150, deadline=None)
def test_options_survive_the_command_line(options):
    options.check()
    assert program.read(Options, "main.py", as_command_line(options)) == options


@given(config=configurations)
@settings(max_examples=50, deadline=None)
def test_the_place_of_a_run_is_not_part_of_its_identity(config):
    identity = config.identity()
    assert identity.keys().isdisjoint({"device", "runs", "compile", "checkpoint_every"})
    assert identity_of(config.as_json()) == identity


def test_a_configuration_from_before_an_option_is_that_of_its_default():
    config = RunConfig(data="cifar10", ood=("near=cifar100",)).as_json()
    older = {name: value for name, value in config.items() if name not in ("freeze", "size")}
    assert identity_of(older) == identity_of(config)
    assert identity_of(older | {"freeze": True}) != identity_of(config)
