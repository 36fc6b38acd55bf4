"""Promises for arbitrary input: configurations that come back as they were, files that are damaged
anywhere, scores of any kind.
"""

import dataclasses
import hashlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data import download, files
from data import npz as npz_files
from experiment import predictions, records
from experiment.config import RunConfig
from tests.common import ROOT
from utils import program
from utils.calibration import HIGHEST, LOWEST, fit_temperature
from utils.metrics import expected_calibration_error

RECORD = next((ROOT / "results" / "cifar10_small" / "runs").rglob(records.METRICS))
words = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("C",)),
    min_size=1,
    max_size=12,
)
names = words.filter(lambda word: not word.startswith("-"))
configurations = st.builds(
    RunConfig,
    data=names,
    model=st.none() | names.filter(lambda name: name != "None"),
    loss=names,
    seed=st.integers(0, 2**32 - 1),
    protocol=st.sampled_from(["heldout", "paper"]),
    epochs=st.none() | st.integers(1, 10**6),
    batch_size=st.integers(2, 10**6),
    ood=st.lists(names, max_size=3).map(tuple),
    limit_train=st.none() | st.integers(2, 10**6),
    precision=st.sampled_from(["auto", "fp32", "bf16", "fp16"]),
    compile=st.booleans(),
    sync_batchnorm=st.booleans(),
    checkpoint_every=st.tuples(
        st.integers(1, 1000).map(float), st.sampled_from(["minutes", "epochs"])
    ),
    keep_features=st.booleans(),
    runs=names.map(Path),
)


def as_command_line(config: RunConfig) -> list[str]:
    """The arguments that ask for a configuration."""
    given: list[str] = []
    for field in dataclasses.fields(config):
        value, option = getattr(config, field.name), f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            given += [option if value else f"--no-{option[2:]}"]
        elif isinstance(value, tuple):
            given += [option, *map(str, value)]
        elif value is not None:
            given += [option, str(value)]
    return given


@given(config=configurations)
@settings(max_examples=150, deadline=None)
def test_a_configuration_survives_json_and_the_command_line(config):
    config.check()
    assert RunConfig.from_json(json.loads(json.dumps(config.as_json()))) == config
    assert program.read(RunConfig, "main.py", as_command_line(config)) == config
    assert config.identity().keys().isdisjoint({"device", "runs", "compile", "checkpoint_every"})


@given(
    logits=st.integers(1, 40).flatmap(
        lambda n: st.integers(2, 5).flatmap(
            lambda c: st.lists(
                st.lists(
                    st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, -1.0]),
                    min_size=c,
                    max_size=c,
                ),
                min_size=n,
                max_size=n,
            )
        )
    ),
    seed=st.integers(0, 99),
)
# A difference that probabilities do not show.
@example(logits=[*[[0.0] * 4] * 3, [0.0, -1.0, 1e-18, 0.0]], seed=0)
@settings(max_examples=25, deadline=None)
@pytest.mark.filterwarnings(
    "ignore:the best temperature", "ignore:all .* are classified right", "ignore:no temperature"
)
def test_the_fitted_temperature_is_within_bounds_and_no_worse_than_1(logits, seed):
    values = torch.tensor(logits, dtype=torch.float64)
    labels = torch.randint(
        values.shape[1], (len(values),), generator=torch.Generator().manual_seed(seed)
    )
    temperature = fit_temperature(values, labels)
    assert LOWEST <= temperature <= HIGHEST
    if (values.argmax(1) == labels).all():
        confidence = (values / temperature).softmax(1).amax(1).mean().item()
        assert temperature == HIGHEST or confidence <= (len(values) + 1) / (len(values) + 2) + 1e-9
        return
    fitted, before = (expected_calibration_error(values / t, labels) for t in (temperature, 1.0))
    assert 0 <= fitted <= before + 1e-9


def damaged(body: bytes, position: float, change: int) -> bytes:
    """Cut at a position (a share of the length), or with one byte changed there."""
    place = int(position * (len(body) - 1))
    return (
        body[:place]
        if not change
        else body[:place] + bytes([body[place] ^ change]) + body[place + 1 :]
    )


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
where, change = st.floats(0, 1), st.integers(0, 255)


def read(function, path: Path):
    """What a function reads; None where it refuses, naming the folder."""
    try:
        return function(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    return None


@given(position=where, change=change)
@settings(max_examples=400, deadline=None)
def test_a_damaged_npz_is_named_or_means_what_it_did(position, change):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.npz"
        path.write_bytes(damaged(npz(images=IMAGES, labels=np.arange(6)), position, change))
        if found := read(npz_files.load, path):
            assert np.array_equal(found.pixels.permute(0, 2, 3, 1).numpy(), IMAGES)
            assert found.labels.tolist() == list(range(6))


@given(position=where, change=change)
@settings(max_examples=200, deadline=None)
def test_a_damaged_image_is_named_or_is_an_image(position, change):
    buffer = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(buffer, "PNG")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").mkdir()
        (Path(folder) / "a" / "some.png").write_bytes(damaged(buffer.getvalue(), position, change))
        if found := read(files.load_split, Path(folder)):
            assert found.first(1).dtype == torch.uint8


@given(position=where, change=change)
@settings(max_examples=200, deadline=None)
def test_damaged_predictions_and_records_are_named_or_mean_what_they_did(position, change):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / records.PREDICTIONS).write_bytes(
            damaged(npz(**{"test/logits": np.eye(5, dtype=np.float32)}), position, change)
        )
        for _, part in (read(predictions.read_predictions, folder) or {}).items():
            assert np.array_equal(part["logits"], np.eye(5))
        (folder / records.METRICS).write_bytes(damaged(RECORD.read_bytes(), position, change))
        if found := read(records.read_record, folder / records.METRICS):
            assert found["format"] == records.FORMAT


@given(cuts=st.lists(st.integers(0, 4999), min_size=1, max_size=3))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_download_cut_at_any_byte_goes_on(server, cuts):
    address, content, cut = server
    content["/file"] = body = np.random.default_rng(1).bytes(5000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for length in cuts:
            if (
                have := (Path(folder) / "file.part")
            ).exists() and have.stat().st_size + length >= len(body):
                break
            cut["/file"] = (have.stat().st_size if have.exists() else 0) + length
            with pytest.raises((OSError, ValueError)):
                download.download_file(f"{address}/file", path, hashlib.md5(body).hexdigest())
            assert not path.exists()
        cut.clear()
        download.download_file(f"{address}/file", path, hashlib.md5(body).hexdigest())
        assert path.read_bytes() == body
        assert [each.name for each in Path(folder).iterdir()] == ["file"]
