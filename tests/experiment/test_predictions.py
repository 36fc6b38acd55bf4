"""Reading a run's predictions.npz."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment import predictions, records
from tests.damage import damaged, npz, read_or_refused

LOGITS = np.eye(5, dtype=np.float32)


def test_written_predictions_are_read_back_without_features(tmp_path):
    outputs = {"test": {"logits": LOGITS, "features": LOGITS}}
    predictions.write_predictions(tmp_path, outputs, {"test": np.arange(5)}, with_features=False)
    sets = predictions.read_predictions(tmp_path)
    assert set(sets) == {"test"}
    assert set(sets["test"]) == {"logits", "labels"}
    assert np.array_equal(sets["test"]["logits"], LOGITS)
    assert np.array_equal(sets["test"]["labels"], np.arange(5))


@given(position=st.floats(0, 1), change=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_damaged_predictions_are_an_error_or_still_the_same(position, change):
    content = npz(**{"test/logits": LOGITS})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / records.PREDICTIONS).write_bytes(damaged(content, position, change))
        sets = read_or_refused(predictions.read_predictions, folder) or {}
        for outputs in sets.values():
            assert np.array_equal(outputs["logits"], LOGITS)
