"""A run that is killed, at any moment and as often as may be, ends with what an uninterrupted one
ends with.
"""

import json
from collections import Counter

import pytest

from experiment import lock, records
from tests.common import record_of, without_times
from tests.killing import arguments
from training import checkpoint


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_if_nothing_had_been(script, run_main, tmp_path):
    places = Counter()

    def outcome(runs, loss):
        folder = runs / "digits" / "smallcnn" / loss / "1"
        names = {
            records.CONFIG,
            records.EPOCHS,
            records.METRICS,
            records.MODEL,
            records.PREDICTIONS,
            lock.LOCK,
            lock.HOLDER,
        }
        # Nothing half-written, no checkpoint.
        assert {path.name for path in folder.iterdir()} == names
        epochs = [
            json.loads(line) | {"images_per_second": 0}
            for line in (folder / records.EPOCHS).read_text().splitlines()
        ]
        return (
            without_times(record_of(runs.parent, loss)),
            epochs,
            checkpoint.load(folder / records.MODEL)["state_dict"],
        )

    # Each keeps another kind of state: mixing, the global generator, sums of images.
    for loss in ("dismax", "godin_dropout", "sngp"):
        run_main(*arguments(str(tmp_path / "runs"), loss))
        record, epochs, weights = outcome(tmp_path / "runs", loss)
        for seed in range(4):
            killed = tmp_path / f"killed{seed}" / "runs"
            done = script("-m", "tests.killing", str(killed), loss, str(seed))
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
            places.update(json.loads(done.stdout))
            found, log, state = outcome(killed, loss)
            assert found == record
            assert log == epochs
            assert all(value.equal(state[name]) for name, value in weights.items())
    print(places)  # shown by pytest -s
    assert places.total() >= 50
    assert sum(count for place, count in places.items() if "a half-written last" in place) >= 15
