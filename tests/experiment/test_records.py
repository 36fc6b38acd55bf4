"""Reading and writing a run's JSON files."""

import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment import lock, records
from tests.common import QUICK, ROOT, run_folder
from tests.damage import damaged, read_or_refused

RECORD = next((ROOT / "results" / "cifar10_small" / "runs").rglob(records.METRICS))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "value.json"
    records.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(path, {"a": math.nan})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


def test_a_reader_of_a_file_that_is_replaced_reads_the_old_content(tmp_path):
    path = tmp_path / "value.json"
    records.write_json(path, {"a": 1})
    with open(path) as file:
        records.write_json(path, {"b": 2})
        assert json.load(file) == {"a": 1}
    assert json.loads(path.read_text()) == {"b": 2}


def test_a_run_on_a_full_disk_writes_no_damaged_file(script, run_main, tmp_path):
    # A limit on the size of files stands for a full disk.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2); import "
        "main; sys.exit(main.main())"
    )
    # The same options as those of `run_main`.
    options = ("--runs", str(tmp_path / "runs"), "--device", "cpu", "--precision", "fp32")
    process = script("-c", code, *QUICK, *options)
    assert process.returncode == 1
    assert "error: [Errno 27] File too large" in process.stderr
    assert "no checkpoint was written yet" in process.stderr
    assert process.stderr.count("\n") == 1
    names = {path.name for path in run_folder(tmp_path).iterdir()}
    assert names == {records.CONFIG, records.EPOCHS, lock.LOCK, lock.HOLDER}
    assert run_main(*QUICK)[0] == 0


@given(position=st.floats(0, 1), change=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_record_is_an_error_or_still_a_record(position, change):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / records.METRICS
        path.write_bytes(damaged(RECORD.read_bytes(), position, change))
        record = read_or_refused(records.read_record, path)
        if record:
            assert record["format"] == records.FORMAT
