"""A run that is killed at any moment, any number of times, ends with the same results."""

import json
from collections import Counter

import pytest

from experiment import lock, records
from tests.common import record_of, run_folder, without_times
from tests.killing import arguments
from training import checkpoint


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_with_the_same_results(script, run_main, tmp_path):
    places = Counter()  # where runs were killed

    def results(runs, loss):
        folder = run_folder(runs.parent, loss)
        names = {
            records.CONFIG,
            records.EPOCHS,
            records.METRICS,
            records.MODEL,
            records.PREDICTIONS,
            lock.LOCK,
            lock.HOLDER,
        }
        # No half-written file and no checkpoint.
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

    # Each loss has another kind of state: mixing, the global generator, sums over images.
    for loss, seeds in (("dismax", (0, 1)), ("godin_dropout", (2,)), ("sngp", (3,))):
        run_main(*arguments(str(tmp_path / "runs"), loss))
        record, epochs, weights = results(tmp_path / "runs", loss)
        for seed in seeds:
            killed = tmp_path / f"killed{seed}" / "runs"
            process = script("-m", "tests.killing", str(killed), loss, str(seed))
            assert process.returncode == 0, process.stderr
            assert process.stderr == ""
            places.update(json.loads(process.stdout))
            resumed_record, resumed_epochs, resumed_weights = results(killed, loss)
            assert resumed_record == record
            assert resumed_epochs == epochs
            for name, value in weights.items():
                assert value.equal(resumed_weights[name]), name
    print(places)  # shown by pytest -s
    assert places.total() >= 15
    assert sum(count for place, count in places.items() if "a half-written last" in place) >= 4
